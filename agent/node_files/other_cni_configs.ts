import { readdir } from 'node:fs/promises'
import { basename, dirname } from 'node:path'

/** Files that containerd and CRI-O read as network configs. */
const isConfig = /\.(conf|conflist|json)$/

/** Names of the networks in a directory, in the runtime's order: it uses the first one for all pods. */
export async function configsIn(directory: string): Promise<readonly string[]> {
  const names = await readdir(directory).catch(() => [])
  return names.filter(name => isConfig.test(name)).sort()
}

/** Other networks in the directory of `path` that come before it. */
export async function configsBefore(path: string): Promise<readonly string[]> {
  const own = basename(path)
  return (await configsIn(dirname(path))).filter(name => name < own)
}
