{{- define "autodeep.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "autodeep.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "autodeep.labels" -}}
{{ include "autodeep.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{- define "autodeep.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "autodeep.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "autodeep.fullname" .) "default") -}}
{{- end -}}

{{/* The settings, secrets and files of a pod, as JSON: the workers', less those that begin with one of `without`, and what `over` has instead. Of each setting one of the three. */}}
{{- define "autodeep.given" -}}
{{- $given := dict "settings" dict "secrets" dict "files" dict -}}
{{- range $from := list .root.Values .over -}}
  {{- range $kind := list "settings" "secrets" "files" -}}
    {{- range $name, $value := get $from $kind | default dict -}}
      {{- if not (kindIs "invalid" $value) -}}
        {{- range $other := list "settings" "secrets" "files" -}}
          {{- $_ := unset (get $given $other) $name -}}
        {{- end -}}
        {{- $_ := set (get $given $kind) $name $value -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range $from := values $given -}}
  {{- range $name := keys $from -}}
    {{- range $prefix := $.without | default list -}}
      {{- if hasPrefix $prefix $name -}}{{- $_ := unset $from $name -}}{{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- toJson $given -}}
{{- end -}}

{{/* What those need who only talk to Kafka. */}}
{{- define "autodeep.kafkaAlone" -}}
{{- include "autodeep.given" (dict "root" .root "over" .over "without" (list "AUTODEEP_MODEL" "AUTODEEP_REDIS_" "AUTODEEP_WEB_")) -}}
{{- end -}}

{{/* What a variable holds, as YAML: whole numbers stay whole, and $( is no reference. */}}
{{- define "autodeep.text" -}}
{{- if kindIs "string" . -}}{{ replace "$(" "$$(" . | toJson }}{{- else -}}{{ toJson . | quote }}{{- end -}}
{{- end -}}

{{- define "autodeep.env" -}}
{{- $root := .root -}}
{{- with .given -}}
{{- range $name, $value := .settings }}
- name: {{ $name }}
  value: {{ include "autodeep.text" $value }}
{{- end }}
{{- range $name, $of := .secrets }}
- name: {{ $name }}_FILE
  value: /etc/autodeep/secret/{{ $of.name }}/{{ $of.key }}
{{- end }}
{{- range $name, $of := .files }}
- name: {{ $name }}
  value: /etc/autodeep/{{ empty $of.secret | ternary "configmap" "secret" }}/{{ $of.secret | default $of.configMap }}{{ with $of.key }}/{{ . }}{{ end }}
{{- end }}
- name: AUTODEEP_CACHE
  value: /var/cache/autodeep
{{- end }}
{{- with $root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The Secrets and ConfigMaps of a pod, as JSON: "secret/NAME" to its keys, "" for all. One volume each, so that a certificate and its key change together. */}}
{{- define "autodeep.sources" -}}
{{- $sources := dict -}}
{{- range $of := .secrets -}}
  {{- $place := printf "secret/%s" $of.name -}}
  {{- $_ := set $sources $place (append (get $sources $place | default list) $of.key | uniq) -}}
{{- end -}}
{{- range $of := .files -}}
  {{- $place := empty $of.secret | ternary (printf "configmap/%s" $of.configMap) (printf "secret/%s" $of.secret) -}}
  {{- $_ := set $sources $place (append (get $sources $place | default list) ($of.key | default "") | uniq) -}}
{{- end -}}
{{- toJson $sources -}}
{{- end -}}

{{- define "autodeep.mounts" -}}
- name: tmp
  mountPath: /tmp
- name: cache
  mountPath: /var/cache/autodeep
{{- range $number, $place := keys (include "autodeep.sources" . | fromJson) | sortAlpha }}
- name: given-{{ $number }}
  mountPath: /etc/autodeep/{{ $place }}
  readOnly: true
{{- end }}
{{- end -}}

{{- define "autodeep.volumes" -}}
{{- $sources := include "autodeep.sources" . | fromJson -}}
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
- name: cache
  emptyDir:
    sizeLimit: 2Gi
{{- range $number, $place := keys $sources | sortAlpha }}
{{- $kind := splitList "/" $place | first }}
{{- $name := splitList "/" $place | last }}
{{- $keys := get $sources $place }}
- name: given-{{ $number }}
  {{- if eq $kind "secret" }}
  secret:
    secretName: {{ $name }}
  {{- else }}
  configMap:
    name: {{ $name }}
  {{- end }}
    defaultMode: 288 # 0440
    {{- if not (has "" $keys) }}
    items:
      {{- range sortAlpha $keys }}
      - key: {{ . }}
        path: {{ . }}
      {{- end }}
    {{- end }}
{{- end }}
{{- end -}}

{{/* What every pod of ours has, beside its containers and volumes. */}}
{{- define "autodeep.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
  {{- range $name, $value := .Values.podSecurityContext }}
  {{- if not (kindIs "invalid" $value) }}
  {{ $name }}: {{ toJson $value }}
  {{- end }}
  {{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "autodeep.container" -}}
image: {{ include "autodeep.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* What the schema of the values cannot see: what belongs together. */}}
{{- define "autodeep.checks" -}}
{{- $given := include "autodeep.given" (dict "root" . "over" dict) | fromJson -}}
{{- $security := get $given.settings "AUTODEEP_KAFKA_SECURITY" | default "PLAINTEXT" -}}
{{- $mechanism := get $given.settings "AUTODEEP_KAFKA_SASL_MECHANISM" | default "SCRAM-SHA-512" -}}
{{- if and (hasPrefix "SASL" $security) (has $mechanism (list "PLAIN" "SCRAM-SHA-256" "SCRAM-SHA-512")) -}}
  {{- if not (hasKey $given.secrets "AUTODEEP_KAFKA_PASSWORD") -}}
    {{- fail (printf "AUTODEEP_KAFKA_SECURITY is %s: name the Secret of the password under secrets.AUTODEEP_KAFKA_PASSWORD" $security) -}}
  {{- end -}}
  {{- if not (or (hasKey $given.secrets "AUTODEEP_KAFKA_USERNAME") (get $given.settings "AUTODEEP_KAFKA_USERNAME")) -}}
    {{- fail (printf "AUTODEEP_KAFKA_SECURITY is %s: settings.AUTODEEP_KAFKA_USERNAME is missing" $security) -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) -}}
  {{- fail "networkPolicy.enabled: list in networkPolicy.egress how Kafka and Redis are reached; workers could reach nothing but DNS" -}}
{{- end -}}
{{- if and .Values.keda.enabled (not (get $given.settings "AUTODEEP_KAFKA_SERVERS")) -}}
  {{- fail "keda.enabled: KEDA reads no mounted file, so settings.AUTODEEP_KAFKA_SERVERS must name the servers" -}}
{{- end -}}
{{- if and .Values.prometheusRule.enabled (not .Values.prometheusRule.rules) -}}
  {{- fail "prometheusRule.enabled: give the rules, --set-file prometheusRule.rules=deploy/prometheus/autodeep.rules.yaml" -}}
{{- end -}}
{{- with .Values.keda -}}
  {{- if and .enabled .maxReplicas (lt (int .maxReplicas) (int .minReplicas)) -}}
    {{- fail (printf "keda.maxReplicas %d is less than keda.minReplicas %d" (int .maxReplicas) (int .minReplicas)) -}}
  {{- end -}}
  {{- if and .enabled (hasPrefix "SASL" $security) (has $mechanism (list "OAUTHBEARER" "AWS_MSK_IAM")) (not .authenticationRef.name) -}}
    {{- fail (printf "keda.enabled with %s: make a TriggerAuthentication, and name it in keda.authenticationRef" $mechanism) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
