{{- /* What the StatefulSet (payloads on a volume of its own) and the Deployment (payloads in a store for all) have in common. */ -}}

{{- /* Labels and annotations of a pod. `component` is there for a Deployment. */ -}}
{{- define "batchseal.podMetadata" -}}
{{- $values := .root.Values }}
{{- $own := include "batchseal.selector" .root | fromYaml }}
{{- with .component }}
{{- $own = set $own "app.kubernetes.io/component" . }}
{{- end }}
{{- $own = set $own "app.kubernetes.io/version" .root.Chart.AppVersion -}}
labels:
  {{- toYaml (merge $own $values.podLabels $values.commonLabels) | nindent 2 }}
{{- /* A secret that is an environment variable is seen by new pods alone. */ -}}
{{- $made := dict }}
{{- if or $values.secrets.store $values.secrets.proxyPassword }}
{{- $text := printf "%s %s" (toJson $values.secrets.store) $values.secrets.proxyPassword }}
{{- $made = dict "checksum/environment" (sha256sum $text) }}
{{- end }}
{{- with merge $made $values.podAnnotations $values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "batchseal.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The handler of a probe, with what the values say about its times. */ -}}
{{- define "batchseal.probe" -}}
httpGet:
  path: {{ .path }}
  {{- if .root.Values.tls.clientCaSecret }}
  port: management
  {{- else }}
  port: http
  {{- if .root.Values.tls.secret }}
  scheme: HTTPS
  {{- end }}
  {{- end }}
{{ toYaml .times }}
{{- end }}

{{- /* What says where a pod runs and as whom. */ -}}
{{- define "batchseal.placement" -}}
automountServiceAccountToken: {{ .Values.serviceAccount.automountToken }}
# Else Kubernetes would set BATCHSEAL_PORT for a Service of the name batchseal, which is a setting of the service.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds | int }}
{{- with include "batchseal.account" . }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . }}
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
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $mine := dict "labelSelector" (dict "matchLabels" (include "batchseal.selector" $ | fromYaml)) }}
  - {{- toYaml (merge (dict) . (ternary (dict) $mine (hasKey . "labelSelector"))) | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* The specification of a pod. `temp` says what the volume of the name temp is, where it is not a claim of the StatefulSet's. */ -}}
{{- define "batchseal.pod" -}}
{{- $root := .root }}
{{- $values := .root.Values }}
{{- $files := include "batchseal.files" .root | fromYaml }}
{{- include "batchseal.placement" .root }}
{{- with $values.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: batchseal
    image: {{ include "batchseal.image" .root | quote }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    args:
      {{- include "batchseal.arguments" .root | trim | nindent 6 }}
    {{- $password := include "batchseal.proxyPassword" .root }}
    {{- if or $password $values.auditClaim $values.extraEnv }}
    env:
      {{- if $values.auditClaim }}
      # A variable and no argument, so that commands in the pod find the exports too.
      - {name: BATCHSEAL_AUDIT_FOLDER, value: /audit}
      {{- end }}
      {{- with $password }}
      - name: BATCHSEAL_PROXY_PASSWORD
        valueFrom:
          secretKeyRef: {name: {{ . }}, key: password}
      {{- end }}
      {{- with $values.extraEnv }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- end }}
    {{- $store := include "batchseal.store" .root }}
    {{- if or $store $values.extraEnvFrom }}
    envFrom:
      {{- with $store }}
      - secretRef: {name: {{ . }}}
      {{- end }}
      {{- with $values.extraEnvFrom }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- end }}
    ports:
      - {name: http, containerPort: 8080}
      {{- with $values.managementPort }}
      - {name: management, containerPort: {{ . | int }}}
      {{- end }}
      {{- with $values.operator.port }}
      - {name: operator, containerPort: {{ . | int }}}
      {{- end }}
    startupProbe:
      {{- include "batchseal.probe" (dict "root" $root "path" "/health/ready" "times" $values.startupProbe) | nindent 6 }}
    readinessProbe:
      {{- include "batchseal.probe" (dict "root" $root "path" "/health/ready" "times" $values.readinessProbe) | nindent 6 }}
    livenessProbe:
      {{- include "batchseal.probe" (dict "root" $root "path" "/health/live" "times" $values.livenessProbe) | nindent 6 }}
    {{- with $values.lifecycle }}
    lifecycle:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    resources:
      {{- toYaml $values.resources | nindent 6 }}
    {{- with $values.securityContext }}
    securityContext:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      - {name: temp, mountPath: /tmp}
      {{- if include "batchseal.clientServices" .root }}
      - {name: work, mountPath: /home, readOnly: true}
      {{- end }}
      {{- if $values.sharedVolumeClaim }}
      - {name: payloads, mountPath: /payloads}
      {{- end }}
      {{- if $values.auditClaim }}
      - {name: audit, mountPath: /audit}
      {{- end }}
      {{- if $values.hotFoldersClaim }}
      - {name: hot-folders, mountPath: /hot-folders}
      {{- end }}
      {{- range $values.hotFolderVolumes }}
      - name: hot-folder-{{ .name }}
        mountPath: {{ .mountPath }}
        {{- with .subPath }}
        subPath: {{ . }}
        {{- end }}
      {{- end }}
      {{- range $name, $file := $files }}
      - {name: {{ $name }}, mountPath: /run/secrets/batchseal/{{ $name }}, readOnly: true}
      {{- end }}
      {{- with $values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  {{- with $values.extraContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with include "batchseal.volumes" (dict "root" .root "temp" .temp "files" $files) | trim }}
volumes:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "batchseal.volumes" -}}
{{- $values := .root.Values }}
{{- with .temp }}
- name: temp
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "batchseal.clientServices" .root }}
- name: work
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with $values.sharedVolumeClaim }}
- name: payloads
  persistentVolumeClaim: {claimName: {{ . }}}
{{- end }}
{{- with $values.auditClaim }}
- name: audit
  persistentVolumeClaim: {claimName: {{ . }}}
{{- end }}
{{- with $values.hotFoldersClaim }}
- name: hot-folders
  persistentVolumeClaim: {claimName: {{ . }}}
{{- end }}
{{- range $values.hotFolderVolumes }}
- name: hot-folder-{{ .name }}
  {{- toYaml .volume | nindent 2 }}
{{- end }}
{{- range $name, $file := .files }}
- name: {{ $name }}
  {{- if $file.configMap }}
  configMap: {name: {{ $file.configMap }}, defaultMode: 0440}
  {{- else }}
  secret: {secretName: {{ $file.secret }}, defaultMode: 0440}
  {{- end }}
{{- end }}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
