import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** setup.sh unpacks Debian's package here. */
const unpacked = 'node_modules/.twill-prometheus/usr/bin'

/** `prometheus` or `promtool`; undefined where this machine has neither it nor Debian's package. */
export function prometheusTool(name: 'prometheus' | 'promtool'): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), unpacked]
  return folders.map(folder => join(folder, name)).find(existsSync)
}

export const whyNoPrometheus =
  prometheusTool('promtool') === undefined || prometheusTool('prometheus') === undefined
    ? "Debian's package prometheus is not here: metrics, alerts and dashboard are not tested"
    : undefined
