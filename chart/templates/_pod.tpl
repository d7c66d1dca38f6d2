{{- /* What the StatefulSet (payloads on a volume of its own) and the Deployment (payloads in a store for all) have in common. */ -}}

{{- define "batchseal.labels" -}}
app.kubernetes.io/name: batchseal
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* Whether payloads lie where every instance reads them. */ -}}
{{- define "batchseal.shared" -}}
{{- if and .Values.payloadStore (ne .Values.payloadStore "local") }}true{{ end }}
{{- end }}

{{- /* Stops a release that would lose documents, or whose instances could not work together. */ -}}
{{- define "batchseal.check" -}}
{{- $shared := include "batchseal.shared" . }}
{{- if and (gt (int .Values.replicas) 1) (not $shared) }}
{{- fail "replicas: several instances need a payloadStore that all of them read (s3://... or shared:/payloads)" }}
{{- end }}
{{- if and $shared (not .Values.databaseSecret) }}
{{- fail "databaseSecret: with payloadStore the instances need a database outside of them" }}
{{- end }}
{{- if and (hasPrefix "shared:" .Values.payloadStore) (not .Values.sharedVolumeClaim) }}
{{- fail "sharedVolumeClaim: payloadStore=shared:/payloads needs a claim (ReadWriteMany), which is mounted at /payloads" }}
{{- end }}
{{- end }}

{{- /* The template of a pod. `temp` says what the volume of the name temp is, where it is not a claim of the StatefulSet's. */ -}}
{{- define "batchseal.pod" -}}
automountServiceAccountToken: false
terminationGracePeriodSeconds: {{ .root.Values.terminationGracePeriodSeconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: batchseal
    image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args:
      - --temp-folder=/tmp/batchseal
      - --drain-seconds={{ .root.Values.drainSeconds }}
      {{- with .root.Values.advertisedAddress }}
      - --server.host.port={{ . }}
      {{- end }}
      {{- with .root.Values.serviceDomain }}
      - --einvoice-integration-client.service.domain={{ . }}
      {{- end }}
      {{- if .root.Values.sandbox }}
      - --sandbox=true
      {{- end }}
      {{- with .root.Values.payloadStore }}
      - {{ printf "--payload-store=%s" . | quote }}
      {{- end }}
      {{- if .root.Values.payloadKeysSecret }}
      - --payload-key-file=/run/secrets/batchseal/payload/payload.keys
      {{- end }}
      {{- if .root.Values.tokenKeysSecret }}
      - --token-key-file=/run/secrets/batchseal/token/token.keys
      {{- end }}
      {{- if .root.Values.databaseSecret }}
      - --database-url-file=/run/secrets/batchseal/database/url
      {{- end }}
      {{- with .root.Values.databasePooler }}
      - --database-pooler={{ . }}
      {{- end }}
      {{- with .root.Values.managementPort }}
      - --management-port={{ . }}
      - --management-host=0.0.0.0
      {{- end }}
      {{- if .root.Values.hotFoldersClaim }}
      - --hot-folder-enabled=true
      {{- end }}
      {{- range .root.Values.arguments }}
      - {{ . | quote }}
      {{- end }}
    {{- with .root.Values.storeSecret }}
    envFrom:
      - secretRef: {name: {{ . }}}
    {{- end }}
    ports:
      - {name: http, containerPort: 8080}
      {{- with .root.Values.managementPort }}
      - {name: management, containerPort: {{ . }}}
      {{- end }}
    startupProbe:
      httpGet: {path: /health/ready, port: http}
      periodSeconds: 1
      failureThreshold: 60
    readinessProbe:
      httpGet: {path: /health/ready, port: http}
      periodSeconds: 5
      timeoutSeconds: 5
    livenessProbe:
      httpGet: {path: /health/live, port: http}
      periodSeconds: 15
      timeoutSeconds: 5
      failureThreshold: 4
    resources:
      {{- toYaml .root.Values.resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    volumeMounts:
      - {name: temp, mountPath: /tmp}
      {{- if .root.Values.clientServicesSecret }}
      - {name: work, mountPath: /home, readOnly: true}
      {{- end }}
      {{- if .root.Values.sharedVolumeClaim }}
      - {name: payloads, mountPath: /payloads}
      {{- end }}
      {{- if .root.Values.hotFoldersClaim }}
      - {name: hot-folders, mountPath: /hot-folders}
      {{- end }}
      {{- range $name, $secret := include "batchseal.secrets" .root | fromYaml }}
      - {name: {{ $name }}, mountPath: /run/secrets/batchseal/{{ $name }}, readOnly: true}
      {{- end }}
{{- $secrets := include "batchseal.secrets" .root | fromYaml }}
{{- if or .temp .root.Values.clientServicesSecret .root.Values.sharedVolumeClaim .root.Values.hotFoldersClaim $secrets }}
volumes:
  {{- with .temp }}
  - name: temp
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.clientServicesSecret }}
  - name: work
    secret: {secretName: {{ . }}, defaultMode: 0440}
  {{- end }}
  {{- with .root.Values.sharedVolumeClaim }}
  - name: payloads
    persistentVolumeClaim: {claimName: {{ . }}}
  {{- end }}
  {{- with .root.Values.hotFoldersClaim }}
  - name: hot-folders
    persistentVolumeClaim: {claimName: {{ . }}}
  {{- end }}
  {{- range $name, $secret := $secrets }}
  - name: {{ $name }}
    secret: {secretName: {{ $secret }}, defaultMode: 0440}
  {{- end }}
{{- end }}
{{- end }}

{{- /* Secrets that are mounted as files, which Kubernetes renews in place, by the name of their volume. */ -}}
{{- define "batchseal.secrets" -}}
{{- with .Values.databaseSecret }}
database: {{ . }}
{{- end }}
{{- with .Values.payloadKeysSecret }}
payload: {{ . }}
{{- end }}
{{- with .Values.tokenKeysSecret }}
token: {{ . }}
{{- end }}
{{- end }}
