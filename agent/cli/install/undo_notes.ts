import { existsSync } from 'node:fs'
import { shellQuote } from '../../../lease/common/shell_quote.ts'
import { allFlags, type Env, readSettings } from '../../config/flags.ts'
import { type FlagValues, splitWord } from '../../config/go_flags.ts'

export type ServiceSettings = Pick<
  FlagValues<typeof allFlags>,
  'embedded-etcd' | 'embedded-etcd-dir' | 'member' | 'kube-subnet-mgr'
>

/** A service's settings by its recorded flags and its variables. Flags of another version are left out. */
export function serviceSettings(flags: readonly string[], env: Env): ServiceSettings {
  const known = flags.filter(flag => Object.hasOwn(allFlags, splitWord(flag).name))
  return readSettings(allFlags, known, env).values
}

/** Lines about what an undo has left, and how it ends. */
export function undoNotes(
  settings: ServiceSettings,
  changed: { readonly forwarding: boolean; readonly docker: boolean },
): readonly string[] {
  const folder = settings['embedded-etcd-dir']
  const lines: string[] = []
  if (existsSync(folder)) {
    const remove = shellQuote('rm', '-r', folder)
    lines.push(`Left: ${folder} with the leases of the network. When no host needs it any more: ${remove}`)
    // A member that has left takes its folder along.
    if (settings.member)
      lines.push(
        'Left: etcd still counts this host as a member. On another one: etcdctl member list, member remove',
      )
  }
  if (changed.forwarding)
    lines.push('Left: forwarding stays on until the next boot; other programs may rely on it')
  if (changed.docker) lines.push('Docker leaves the overlay at its next start: systemctl restart docker')
  const lease = settings['kube-subnet-mgr']
    ? 'The lease of this host stays until its Node is deleted: kubectl delete node'
    : 'The lease of this host expires within a day, unless it is reserved'
  return [...lines, lease]
}
