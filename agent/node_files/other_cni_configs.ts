import { readdir } from 'node:fs/promises'
import { basename, dirname } from 'node:path'

/** What a container runtime takes for a network config, as containerd and CRI-O do. */
const isConfig = /\.(conf|conflist|json)$/

/** Other networks in the directory of `path` that come before it: a runtime uses the first one by name for all pods. */
export async function configsBefore(path: string): Promise<readonly string[]> {
  const names = await readdir(dirname(path)).catch(() => [])
  const own = basename(path)
  return names.filter(name => isConfig.test(name) && name < own).sort()
}
