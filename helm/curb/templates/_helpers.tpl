{{/*
Names, labels, and the parts of a pod that the worker and the test of the release share. Names are quoted wherever they are
written: 123, 1e3, on and null are names in Kubernetes, and something else in YAML.
*/}}

{{- define "curb.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 52 characters: a StatefulSet adds a hash of 11 to the label that names the revision of its pods. */}}
{{- define "curb.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* What selects the worker's pods. IMPORTANT: never changes, a StatefulSet refuses it. */}}
{{- define "curb.selectorLabels" -}}
app.kubernetes.io/name: {{ include "curb.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: worker
{{- end -}}

{{/* Takes {root, more?}: labels that go before those of commonLabels. */}}
{{- define "curb.commonLabels" -}}
{{- $more := .more | default dict -}}
{{- with .root -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: curb
{{- with merge (dict) $more .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Labels of the worker's own resources; takes {root, more?}. */}}
{{- define "curb.labels" -}}
{{ include "curb.selectorLabels" .root }}
{{ include "curb.commonLabels" . }}
{{- end -}}

{{/* Labels of a resource that is not the worker's own; takes {root, component, more?}. */}}
{{- define "curb.labelsOf" -}}
app.kubernetes.io/name: {{ include "curb.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{ include "curb.commonLabels" . }}
{{- end -}}

{{/* The head of every resource; takes {root, name, component?, labels?, annotations?}. */}}
{{- define "curb.metadata" -}}
name: {{ .name | quote }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- if .component }}
  {{- include "curb.labelsOf" (dict "root" .root "component" .component "more" .labels) | nindent 2 }}
  {{- else }}
  {{- include "curb.labels" (dict "root" .root "more" .labels) | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "curb.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "curb.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "curb.image" -}}
{{- $name := .Values.image.repository -}}
{{- with .Values.image.registry }}{{ $name = printf "%s/%s" . $name }}{{ end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* IMPORTANT: consumer group, transactional ids and the state topic hang on it. */}}
{{- define "curb.pipeline" -}}
{{- default (include "curb.fullname" .) .Values.pipeline.name -}}
{{- end -}}

{{- define "curb.shards" -}}
{{- default 8 .Values.pipeline.shards -}}
{{- end -}}

{{- define "curb.hasOwnRules" -}}
{{- if or .Values.rules.inline .Values.rules.existingConfigMaps -}}true{{- end -}}
{{- end -}}

{{- define "curb.rulesDir" -}}
{{- if .Values.rules.pack -}}/sql/{{ .Values.rules.pack }}{{- else -}}/rules{{- end -}}
{{- end -}}

{{/* How the brokers are spoken to. */}}
{{- define "curb.securityProtocol" -}}
{{- if .Values.kafka.sasl.mechanism -}}
{{- ternary "SASL_SSL" "SASL_PLAINTEXT" .Values.kafka.tls.enabled -}}
{{- else -}}
{{- ternary "SSL" "PLAINTEXT" .Values.kafka.tls.enabled -}}
{{- end -}}
{{- end -}}

{{/* The Secrets that a pod mounts, each as a folder below /etc/curb/secrets, with the keys that are read. YAML map of name to {secret, items}. */}}
{{- define "curb.secrets" -}}
{{- with .Values.kafka.sasl }}
{{- if .mechanism }}
sasl:
  secret: {{ .existingSecret | quote }}
  items: {username: {{ .usernameKey | quote }}, password: {{ .passwordKey | quote }}}
{{- end }}
{{- end }}
{{- with .Values.kafka.tls }}
{{- if and .enabled .existingSecret }}
tls:
  secret: {{ .existingSecret | quote }}
  items:
    ca.crt: {{ .caKey | quote }}
    {{- if .clientCertificate }}
    tls.crt: {{ .certKey | quote }}
    tls.key: {{ .keyKey | quote }}
    {{- if .keyPasswordKey }}
    key-password: {{ .keyPasswordKey | quote }}
    {{- end }}
    {{- end }}
{{- end }}
{{- end }}
{{- with .Values.schemaRegistry }}
{{- if .existingSecret }}
schema-registry:
  secret: {{ .existingSecret | quote }}
  items: {password: {{ .passwordKey | quote }}}
{{- end }}
{{- if .caSecret }}
schema-registry-ca:
  secret: {{ .caSecret | quote }}
  items: {ca.crt: {{ .caKey | quote }}}
{{- end }}
{{- end }}
{{- with .Values.pseudonymKeys }}
{{- if .existingSecret }}
pseudonym:
  secret: {{ .existingSecret | quote }}
  items: {keys: {{ .key | quote }}}
{{- end }}
{{- end }}
{{- with .Values.console.auth }}
{{- if .existingSecret }}
console-token:
  secret: {{ .existingSecret | quote }}
  items:
    token: {{ .tokenKey | quote }}
    {{- if .adminTokenKey }}
    admin-token: {{ .adminTokenKey | quote }}
    {{- end }}
{{- end }}
{{- end }}
{{- with .Values.console.tls }}
{{- if .existingSecret }}
console-tls:
  secret: {{ .existingSecret | quote }}
  items: {tls.crt: {{ .certKey | quote }}, tls.key: {{ .keyKey | quote }}}
{{- end }}
{{- end }}
{{- end -}}

{{- define "curb.inlineRules" -}}
{{- range $name, $text := .Values.rules.inline }}
{{ $name | quote }}: {{ $text | quote }}
{{- end }}
{{- end -}}

{{/* One folder of all rules that are not the image's; takes {root, inline}, the ConfigMap of the inline ones. */}}
{{- define "curb.rulesVolume" -}}
{{- if include "curb.hasOwnRules" .root -}}
- name: rules
  projected:
    sources:
      {{- range .root.Values.rules.existingConfigMaps }}
      - configMap:
          name: {{ . | quote }}
      {{- end }}
      {{- if .root.Values.rules.inline }}
      - configMap:
          name: {{ .inline | quote }}
      {{- end }}
{{- end -}}
{{- end -}}

{{- define "curb.configVolumes" -}}
- name: config
  configMap:
    name: {{ include "curb.fullname" . }}-config
{{- with include "curb.rulesVolume" (dict "root" . "inline" (printf "%s-rules" (include "curb.fullname" .))) }}
{{ . }}
{{- end }}
{{- range $name, $secret := include "curb.secrets" . | fromYaml }}
- name: secret-{{ $name }}
  secret:
    secretName: {{ $secret.secret | quote }}
    defaultMode: 0440
    items:
      {{- range $path, $key := $secret.items }}
      - key: {{ $key | quote }}
        path: {{ $path }}
      {{- end }}
{{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- end -}}

{{- define "curb.configMounts" -}}
- name: config
  mountPath: /etc/curb/curb.toml
  subPath: curb.toml
  readOnly: true
{{- if include "curb.hasOwnRules" . }}
- name: rules
  mountPath: /rules
  readOnly: true
{{- end }}
{{- range $name, $_ := include "curb.secrets" . | fromYaml }}
- name: secret-{{ $name }}
  mountPath: /etc/curb/secrets/{{ $name }}
  readOnly: true
{{- end }}
- name: tmp
  mountPath: /tmp
{{- end -}}

{{/* Ports named in a list of addresses: `a:1,https://b:2/c` gives 1 and 2. An address without a port has that of its scheme. JSON list. */}}
{{- define "curb.ports" -}}
{{- $ports := list -}}
{{- range splitList "," . -}}
{{- $scheme := ternary 443 80 (hasPrefix "https://" (trim .)) -}}
{{- $authority := regexReplaceAll "/.*$" (regexReplaceAll "^[a-z]+://" (trim .) "") "" -}}
{{- $port := regexFind ":[0-9]+$" $authority | trimPrefix ":" -}}
{{- $ports = append $ports (ternary (int $port) $scheme (ne $port "")) -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}
