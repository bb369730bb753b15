{{/* The configuration file of the worker. Nothing secret is in it: secrets are named by the file that holds them. */}}
{{- define "curb.config" -}}
{{- include "curb.settings" . -}}
{{- $hasKeyPassword := and .Values.kafka.tls.enabled .Values.kafka.tls.clientCertificate .Values.kafka.tls.keyPasswordKey }}
{{- if or .Values.kafka.sasl.mechanism $hasKeyPassword }}

[kafka.property_files]
{{- if .Values.kafka.sasl.mechanism }}
"sasl.username" = "/etc/curb/secrets/sasl/username"
"sasl.password" = "/etc/curb/secrets/sasl/password"
{{- end }}
{{- if $hasKeyPassword }}
"ssl.key.password" = "/etc/curb/secrets/tls/key-password"
{{- end }}
{{- end }}
{{- end -}}

{{/* All of it that can be read where there are no Secrets: `curb config show` opens the files of kafka.property_files. */}}
{{- define "curb.settings" -}}
{{- $v := .Values -}}
brokers = {{ $v.kafka.bootstrapServers | quote }}
pipeline = {{ include "curb.pipeline" . | quote }}
state_dir = "/var/lib/curb"
{{- if $v.pipeline.shards }}
shards = {{ int $v.pipeline.shards }}
{{- end }}
{{- if ne $v.pipeline.emitFrom "earliest" }}
emit_from = {{ $v.pipeline.emitFrom | quote }}
{{- end }}
{{- with $v.pipeline.timeZone }}
time_zone = {{ . | quote }}
{{- end }}
create_topics = {{ $v.pipeline.createTopics }}
audit = {{ $v.pipeline.audit }}
health = {{ printf "%s:%d" $v.health.host (int $v.health.port) | quote }}
http = {{ printf "%s:%d" (ternary $v.health.host "127.0.0.1" $v.console.enabled) (int $v.console.port) | quote }}
{{- if $v.console.auth.existingSecret }}
http_token_file = "/etc/curb/secrets/console-token/token"
{{- if $v.console.auth.adminTokenKey }}
http_admin_token_file = "/etc/curb/secrets/console-token/admin-token"
{{- end }}
{{- end }}
{{- with $v.console.auth.userHeader }}
http_user_header = {{ . | quote }}
{{- end }}
{{- if $v.console.tls.existingSecret }}
http_tls_cert = "/etc/curb/secrets/console-tls/tls.crt"
http_tls_key = "/etc/curb/secrets/console-tls/tls.key"
{{- end }}
{{- if $v.pseudonymKeys.existingSecret }}
pseudonym_keys = "/etc/curb/secrets/pseudonym/keys"
{{- end }}
{{- with $v.schemaRegistry }}
{{- if .url }}

[schema_registry]
url = {{ .url | quote }}
{{- if .user }}
user = {{ .user | quote }}
{{- end }}
{{- if .existingSecret }}
password_file = "/etc/curb/secrets/schema-registry/password"
{{- end }}
{{- if .caSecret }}
ca_file = "/etc/curb/secrets/schema-registry-ca/ca.crt"
{{- end }}
{{- end }}
{{- end }}

[sql]
{{- with $v.console.sql }}
max_running = {{ int64 .maxRunning }}
max_time = {{ .maxTime | quote }}
max_length = {{ int64 .maxLength }}
max_rows = {{ int64 .maxRows }}
max_answer_mib = {{ int64 .maxAnswerMib }}
max_memory_mib = {{ int64 .maxMemoryMib }}
max_rows_read = {{ int64 .maxRowsRead }}
max_read_mib = {{ int64 .maxReadMib }}
max_pause = {{ .maxPause | quote }}
{{- end }}

[kafka.properties]
"security.protocol" = {{ include "curb.securityProtocol" . | quote }}
{{- with $v.kafka.sasl.mechanism }}
"sasl.mechanism" = {{ . | quote }}
{{- end }}
{{- with $v.kafka.tls }}
{{- if and .enabled .existingSecret }}
"ssl.ca.location" = "/etc/curb/secrets/tls/ca.crt"
{{- if .clientCertificate }}
"ssl.certificate.location" = "/etc/curb/secrets/tls/tls.crt"
"ssl.key.location" = "/etc/curb/secrets/tls/tls.key"
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $value := $v.kafka.properties }}
{{- /* toString would write 10485760 as 1.048576e+07. */}}
{{ $name | quote }} = {{ ternary $value (toJson $value) (kindIs "string" $value) | quote }}
{{- end }}
{{- end -}}
