{{- define "runnel.name" -}}
{{- $both := printf "%s-%s" .Release.Name .Chart.Name }}
{{- ternary .Release.Name $both (contains .Chart.Name .Release.Name) | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "runnel.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "runnel.labels" -}}
{{ include "runnel.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "runnel.demands" -}}
{{- if not .Values.security.acceptInsecure }}
{{- fail "there is no TLS or authentication yet: set security.acceptInsecure=true if the network of the pods is trusted" }}
{{- end }}
{{- if not .Values.etcd.endpoints }}{{ fail "set etcd.endpoints, such as {etcd-0.etcd:2379}" }}{{ end }}
{{- if not .Values.storage.url }}{{ fail "set storage.url to s3://bucket/prefix" }}{{ end }}
{{- if and (eq .Values.kafka.advertiseMode "single") (not .Values.kafka.advertise) }}
{{- fail "set kafka.advertise to the one address, as clients reach it" }}
{{- end }}
{{- if and .Values.etcd.clientCertificate (not .Values.etcd.tlsSecret) }}{{ fail "set etcd.tlsSecret" }}{{ end }}
{{- end }}
