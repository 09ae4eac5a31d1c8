import { mkdir, stat } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { Claim } from './lock.ts'

export function deviceClaims(devices: readonly string[]): readonly Claim[] {
  return devices.map(name => ({ key: `device/${name}`, text: `device ${name}` }))
}

export function networkClaims(networks: readonly Prefix[]): readonly Claim[] {
  return networks.map(network => ({ key: `network/${network}`, text: `network ${network}` }))
}

/**
 * Identifies a file by its directory's device and inode: in two containers one path can be two files, and two
 * paths one file. Creates the directories. Leaves out a file whose directory cannot be created: the code that
 * writes it reports the error.
 */
export async function fileClaims(paths: readonly (string | undefined)[]): Promise<readonly Claim[]> {
  const claims: Claim[] = []
  for (const path of paths) {
    if (path === undefined) continue
    const folder = dirname(resolve(path))
    const made = mkdir(folder, { recursive: true, mode: 0o755 })
    const facts = await made.then(() => stat(folder)).catch(() => undefined)
    const key = `file/${facts?.dev}/${facts?.ino}/${basename(path)}`.slice(0, 90)
    if (facts !== undefined) claims.push({ key, text: `file ${path}` })
  }
  return claims
}
