{{- /* Names, labels and annotations. Kubernetes lets nobody change the selectors of a release, so they stay as they were in release 0.1. */ -}}

{{- define "batchseal.name" -}}
{{- .Values.nameOverride | default "batchseal" }}
{{- end }}

{{- define "batchseal.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name }}
{{- end }}

{{- define "batchseal.account" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "batchseal.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "batchseal.selector" -}}
app.kubernetes.io/name: {{ include "batchseal.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "batchseal.standard" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: batchseal
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /*
The metadata of an object. `suffix` comes after the name of the release, or `fullname` takes its place; `labels` and `annotations` are those of this object alone,
which go before those of all objects. `label` is the app.kubernetes.io/name of an object that no Service of the release may find.
*/ -}}
{{- define "batchseal.metadata" -}}
{{- $own := merge (include "batchseal.selector" .root | fromYaml) (include "batchseal.standard" .root | fromYaml) }}
{{- with .label }}
{{- $own = set $own "app.kubernetes.io/name" . }}
{{- end -}}
name: {{ .fullname | default (include "batchseal.fullname" .root) }}{{ with .suffix }}-{{ . }}{{ end }}
labels:
  {{- toYaml (merge $own (default dict .labels) .root.Values.commonLabels) | nindent 2 }}
{{- with merge (dict) (default dict .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
