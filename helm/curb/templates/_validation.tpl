{{/*
What values.schema.json cannot say: combinations that would not work, each with the reason and what to do. All findings are
given at once.
*/}}
{{- define "curb.validate" -}}
{{- $v := .Values -}}
{{- $found := list -}}

{{- if not $v.kafka.bootstrapServers -}}
{{- $found = append $found "kafka.bootstrapServers is empty: give the address of your Kafka brokers, as kafka.bootstrapServers=broker-0:9092" -}}
{{- end -}}

{{- range splitList "," $v.kafka.bootstrapServers -}}
{{- if and (trim .) (not (regexMatch "^([^\\s:/]+|\\[[0-9A-Fa-f:]+\\]):[0-9]{1,5}$" (trim .))) -}}
{{- $found = append $found (printf "kafka.bootstrapServers holds `%s`: write host:port, several separated by commas" (trim .)) -}}
{{- end -}}
{{- end -}}
{{- if not (regexMatch "^(earliest|now|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2}))$" $v.pipeline.emitFrom) -}}
{{- $found = append $found (printf "pipeline.emitFrom is `%s`: write earliest, now, or a timestamp as 2026-01-31T00:00:00+08:00" $v.pipeline.emitFrom) -}}
{{- end -}}

{{- $fullname := include "curb.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $fullname) -}}
{{- $found = append $found (printf "the names of resources would be `%s`: that of a Service begins with a letter and holds only small letters, digits and `-`; set fullnameOverride to such a name" $fullname) -}}
{{- end -}}

{{- $own := include "curb.hasOwnRules" . -}}
{{- if and (not $v.rules.pack) (not $own) -}}
{{- $found = append $found "there are no rules: set rules.pack to a pack of the image (safe-riding, for instance), write rules in rules.inline, or name a ConfigMap in rules.existingConfigMaps" -}}
{{- end -}}
{{- if and $v.rules.pack $own -}}
{{- $found = append $found "rules.pack and rules of your own (rules.inline, rules.existingConfigMaps) are both set: a pipeline runs one pack, so choose one" -}}
{{- end -}}
{{- if and $v.rules.inline (not $v.rules.existingConfigMaps) (not (include "curb.hasSql" $v.rules.inline)) -}}
{{- $found = append $found "rules.inline holds no file whose name ends in .sql: curb reads no other rules" -}}
{{- end -}}

{{- $pipeline := include "curb.pipeline" . -}}
{{- if not (regexMatch "^[A-Za-z0-9._-]{1,200}$" $pipeline) -}}
{{- $found = append $found (printf "pipeline.name is `%s`: it names topics, so it may hold only letters, digits, `.`, `_` and `-`" $pipeline) -}}
{{- end -}}

{{- if and $v.kafka.sasl.mechanism (not $v.kafka.sasl.existingSecret) -}}
{{- $found = append $found "kafka.sasl.mechanism is set, but kafka.sasl.existingSecret is not: name the Secret that holds user and password (kubectl create secret generic NAME --from-literal=username=.. --from-file=password=..)" -}}
{{- end -}}
{{- if and $v.kafka.sasl.existingSecret (not $v.kafka.sasl.mechanism) -}}
{{- $found = append $found "kafka.sasl.existingSecret is set, but kafka.sasl.mechanism is not: say which the brokers want, PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512" -}}
{{- end -}}
{{- if and (eq $v.kafka.sasl.mechanism "PLAIN") (not $v.kafka.tls.enabled) -}}
{{- $found = append $found "kafka.sasl.mechanism is PLAIN without TLS: the password would cross the network in the clear; set kafka.tls.enabled=true, or use SCRAM-SHA-512" -}}
{{- end -}}
{{- if and (or $v.kafka.tls.existingSecret $v.kafka.tls.clientCertificate) (not $v.kafka.tls.enabled) -}}
{{- $found = append $found "kafka.tls.existingSecret or kafka.tls.clientCertificate is set, but TLS is off: set kafka.tls.enabled=true" -}}
{{- end -}}
{{- if and $v.kafka.tls.enabled $v.kafka.tls.clientCertificate (not $v.kafka.tls.existingSecret) -}}
{{- $found = append $found "kafka.tls.clientCertificate is true, but kafka.tls.existingSecret is empty: name the Secret that holds the certificate and its key" -}}
{{- end -}}
{{- $written := list "security.protocol" "sasl.mechanism" "sasl.mechanisms" -}}
{{- if and $v.kafka.tls.enabled $v.kafka.tls.existingSecret -}}
{{- $written = append $written "ssl.ca.location" -}}
{{- if $v.kafka.tls.clientCertificate -}}
{{- $written = concat $written (list "ssl.certificate.location" "ssl.key.location") -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := $v.kafka.properties -}}
{{- if or (has $name $written) (hasPrefix "sasl.username" $name) -}}
{{- $found = append $found (printf "kafka.properties sets `%s`: the chart sets it from kafka.sasl and kafka.tls" $name) -}}
{{- else if or (regexMatch "password|secret|\\.pem$" $name) (eq $name "sasl.oauthbearer.config") -}}
{{- $found = append $found (printf "kafka.properties sets `%s`: a ConfigMap is no place for a secret; put it in a Secret and use kafka.sasl or kafka.tls" $name) -}}
{{- else if has $name (list "allow.auto.create.topics" "auto.offset.reset" "bootstrap.servers" "delivery.report.only.error" "enable.auto.commit" "enable.auto.offset.store" "enable.idempotence" "enable.partition.eof" "group.id" "group.instance.id" "group.protocol" "isolation.level" "message.timeout.ms" "delivery.timeout.ms" "metadata.broker.list" "partition.assignment.strategy" "partitioner" "session.timeout.ms" "test.mock.num.brokers" "transaction.timeout.ms" "transactional.id") -}}
{{- $found = append $found (printf "kafka.properties sets `%s`: exactly-once rests on it, and curb sets it itself" $name) -}}
{{- end -}}
{{- end -}}

{{- if and (or $v.schemaRegistry.user $v.schemaRegistry.existingSecret $v.schemaRegistry.caSecret) (not $v.schemaRegistry.url) -}}
{{- $found = append $found "schemaRegistry.user, existingSecret or caSecret is set, but schemaRegistry.url is not" -}}
{{- end -}}
{{- if ne (empty $v.schemaRegistry.user) (empty $v.schemaRegistry.existingSecret) -}}
{{- $found = append $found "schemaRegistry.user and schemaRegistry.existingSecret belong together: give both or neither" -}}
{{- end -}}

{{- if and $v.autoscaling.enabled $v.keda.enabled -}}
{{- $found = append $found "autoscaling.enabled and keda.enabled are both true: two autoscalers would fight over the number of pods, so choose one" -}}
{{- end -}}
{{- $most := list -}}
{{- if $v.autoscaling.enabled -}}
{{- $most = list "autoscaling.maxReplicas" (int $v.autoscaling.maxReplicas) -}}
{{- if gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas) -}}
{{- $found = append $found "autoscaling.minReplicas is greater than autoscaling.maxReplicas" -}}
{{- end -}}
{{- else if $v.keda.enabled -}}
{{- $most = list "keda.maxReplicas" (int $v.keda.maxReplicas) -}}
{{- if gt (int $v.keda.minReplicas) (int $v.keda.maxReplicas) -}}
{{- $found = append $found "keda.minReplicas is greater than keda.maxReplicas" -}}
{{- end -}}
{{- if not $v.keda.topics -}}
{{- $found = append $found "keda.topics is empty: name the topics that the rules read (`curb check` lists them), so that KEDA can count what waits there" -}}
{{- end -}}
{{- if and (eq (int $v.keda.minReplicas) (int $v.keda.maxReplicas)) -}}
{{- $found = append $found "keda.minReplicas equals keda.maxReplicas: there is nothing to decide; set keda.minReplicas=0 to let the pipeline sleep, or keda.enabled=false" -}}
{{- end -}}
{{- else -}}
{{- $most = list "replicaCount" (int $v.replicaCount) -}}
{{- end -}}
{{- $shards := include "curb.shards" . | int -}}
{{- if and (gt (last $most) 1) (not $v.pipeline.multipleWorkers) -}}
{{- $found = append $found (printf "%s is %d, but curb %s runs a pipeline in one pod: a second one would wait a minute and stop with exit code 6; give the pod more CPU and memory, divide the rules into several releases, or set pipeline.multipleWorkers=true if your image can do it" (first $most) (last $most) .Chart.AppVersion) -}}
{{- else if gt (last $most) $shards -}}
{{- $found = append $found (printf "%s is %d, but the pipeline has %d shards: further pods would have nothing to do. The number of shards (pipeline.shards) is fixed at the first start; nor are there more useful pods than the sources' topics have partitions" (first $most) (last $most) $shards) -}}
{{- end -}}

{{- if and $v.console.enabled (not $v.console.auth.existingSecret) (not $v.console.auth.userHeader) -}}
{{- $found = append $found "console.enabled is true without authentication: set console.auth.existingSecret to a Secret with a token, or console.auth.userHeader behind a proxy that authenticates; kubectl port-forward reaches the console without any of this" -}}
{{- end -}}
{{- if and $v.console.auth.adminTokenKey (not $v.console.auth.existingSecret) -}}
{{- $found = append $found "console.auth.adminTokenKey is set, but console.auth.existingSecret is not" -}}
{{- end -}}
{{- if and $v.console.auth.userHeader (or (not $v.networkPolicy.enabled) (not $v.networkPolicy.consoleFrom)) -}}
{{- $found = append $found "console.auth.userHeader is trusted from whoever reaches the port: set networkPolicy.enabled=true and networkPolicy.consoleFrom to the proxy's pods" -}}
{{- end -}}
{{- if and $v.console.ingress.enabled (not $v.console.enabled) -}}
{{- $found = append $found "console.ingress.enabled is true, but console.enabled is not" -}}
{{- end -}}
{{- if and $v.console.ingress.enabled (not $v.console.ingress.hosts) -}}
{{- $found = append $found "console.ingress.enabled is true, but console.ingress.hosts is empty: an Ingress without a host would answer for every name" -}}
{{- end -}}
{{- /* The console is served inside the pod also when it is not enabled. */ -}}
{{- if eq (int $v.console.port) (int $v.health.port) -}}
{{- $found = append $found (printf "console.port and health.port are both %d: the worker listens on both, so choose another for one of them" (int $v.health.port)) -}}
{{- end -}}
{{- if not (regexMatch "^(([1-9][0-9]{1,3}|[1-4][0-9]{4}|50000)ms|([1-9]|[1-4][0-9]|50)s?)$" $v.console.sql.maxTime) -}}
{{- $found = append $found (printf "console.sql.maxTime is `%s`: write a time from 10ms to 50s, as 20s" $v.console.sql.maxTime) -}}
{{- end -}}
{{- if not (regexMatch "^(([1-9][0-9]{0,3}|10000)ms|([1-9]|10)s?)$" $v.console.sql.maxPause) -}}
{{- $found = append $found (printf "console.sql.maxPause is `%s`: write a time from 1ms to 10s, as 1s" $v.console.sql.maxPause) -}}
{{- end -}}
{{- /* What all queries may take at a time, against the pod's limit, if that is in a unit that is known here. */ -}}
{{- $limit := $v.resources.limits.memory -}}
{{- $unit := "" -}}
{{- if kindIs "string" $limit -}}
{{- $unit = regexFind "[A-Za-z]*$" $limit -}}
{{- end -}}
{{- $factor := get (dict "" 1.0 "M" 1e6 "G" 1e9 "Mi" 1048576.0 "Gi" 1073741824.0) $unit -}}
{{- $each := add (mul 2 (int64 $v.console.sql.maxMemoryMib)) (int64 $v.console.sql.maxReadMib) 256 -}}
{{- $all := mul (int64 $v.console.sql.maxRunning) $each -}}
{{- if $factor -}}
{{- $bytes := ternary (trimSuffix $unit (toString $limit)) $limit (kindIs "string" $limit) | float64 | mulf $factor -}}
{{- if gt (mulf $all 1048576.0) $bytes -}}
{{- $found = append $found (printf "console.sql lets queries take %d MiB together, but resources.limits.memory is %s: each of console.sql.maxRunning (%d) may take twice maxMemoryMib, maxReadMib and 256 MiB more; make one of these smaller, or the limit larger" $all (ternary $limit (toJson $limit) (kindIs "string" $limit)) (int64 $v.console.sql.maxRunning)) -}}
{{- end -}}
{{- end -}}

{{- if and $v.networkPolicy.enabled $v.console.enabled (not $v.console.auth.userHeader) (not $v.networkPolicy.consoleFrom) -}}
{{- $found = append $found "networkPolicy.enabled and console.enabled are true, but networkPolicy.consoleFrom is empty: nobody would reach the console; name who may, the ingress controller's pods for instance, or set console.enabled=false" -}}
{{- end -}}
{{- if and $v.networkPolicy.enabled $v.metrics.serviceMonitor.enabled (not $v.networkPolicy.metricsFrom) -}}
{{- $found = append $found "networkPolicy.enabled and metrics.serviceMonitor.enabled are true, but networkPolicy.metricsFrom is empty: Prometheus could not read /metrics; name its pods or its namespace" -}}
{{- end -}}

{{- range list "serviceMonitor" "prometheusRule" -}}
{{- if and (index $v.metrics .).enabled (not ($.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) -}}
{{- $found = append $found (printf "metrics.%s.enabled is true, but the cluster does not know monitoring.coreos.com/v1: install the Prometheus operator first, or set it to false (`helm template` needs --api-versions monitoring.coreos.com/v1)" .) -}}
{{- end -}}
{{- end -}}
{{- if and $v.keda.enabled (not (.Capabilities.APIVersions.Has "keda.sh/v1alpha1")) -}}
{{- $found = append $found "keda.enabled is true, but the cluster does not know keda.sh/v1alpha1: install KEDA first, or set it to false (`helm template` needs --api-versions keda.sh/v1alpha1)" -}}
{{- end -}}

{{- $alerts := list -}}
{{- range regexFindAll "(?m)^- alert: \\w+" (.Files.Get "files/alerts.yaml") -1 -}}
{{- $alerts = append $alerts (trimPrefix "- alert: " .) -}}
{{- end -}}
{{- range $v.metrics.prometheusRule.disabled -}}
{{- if not (has . $alerts) -}}
{{- $found = append $found (printf "metrics.prometheusRule.disabled holds `%s`, which is no alert of this chart: write one of %s" . (join ", " $alerts)) -}}
{{- end -}}
{{- end -}}

{{- if and $v.tracing.existingSecret (not $v.tracing.endpoint) -}}
{{- $found = append $found "tracing.existingSecret is set, but tracing.endpoint is not" -}}
{{- end -}}

{{- range $from := list "podLabels" "commonLabels" -}}
{{- range $label, $_ := index $v $from -}}
{{- if or (regexMatch "^app\\.kubernetes\\.io/(name|instance|component|part-of|version|managed-by)$" $label) (eq $label "helm.sh/chart") -}}
{{- $found = append $found (printf "%s sets `%s`: the chart sets it, and the StatefulSet finds its pods by such labels" $from $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $v.extraEnv -}}
{{- if has .name (list "CURB_INSTANCE" "CURB_PIPELINE" "CURB_STATE_DIR" "CURB_CONFIG" "CURB_SHARDS") -}}
{{- $found = append $found (printf "extraEnv sets %s: the pod's identity hangs on it, and the chart sets it" .name) -}}
{{- else if has .name (list "CURB_BROKERS" "CURB_HEALTH" "CURB_HTTP") -}}
{{- $found = append $found (printf "extraEnv sets %s: probes, Services and policies would go by another address; use kafka.bootstrapServers, health and console" .name) -}}
{{- else if regexMatch "^CURB_KAFKA_.*(PASSWORD|SECRET)" .name -}}
{{- $found = append $found (printf "extraEnv sets %s: whoever may read the pod would read it; use kafka.sasl or kafka.tls, which mount a Secret as a file" .name) -}}
{{- end -}}
{{- end -}}

{{- if $found -}}
{{- fail (printf "\n\nThe values do not fit together:\n  - %s\n" (join "\n  - " $found)) -}}
{{- end -}}
{{- end -}}

{{- define "curb.hasSql" -}}
{{- range $name, $_ := . -}}
{{- if hasSuffix ".sql" $name -}}true{{- end -}}
{{- end -}}
{{- end -}}
