import { dirname } from 'node:path'
import { orUndefined } from '../../lease/common/errors.ts'

/** First line of each file that `twill install` writes, except the token's. */
export const MARK = '# Written by `twill install`; `twill uninstall` removes it.'

/** Flags and changes of an installation, kept in the drop-in for `twill uninstall`. */
export interface Record {
  /** Flags of twilld, `--name=value`. */
  readonly flags: readonly string[]
  readonly docker: boolean
  /** The service was not enabled, or not running, before. */
  readonly enabled: boolean
  readonly started: boolean
}

const RECORD = '# record: '
/** Folders that the unit itself makes writable. */
const ownFolders = ['/run/flannel', '/run/twill', '/var/lib/twill']

/** `program`: the command that starts twilld. Flags override the unit's variables and /etc/default/twilld. */
export function dropIn(program: readonly string[], record: Record): string {
  const folders = writableFolders(record.flags).map(systemdWord).join(' ')
  return `${MARK}
${RECORD}${JSON.stringify(record)}
[Service]
ExecStart=
ExecStart=${[...program, ...record.flags].map(systemdWord).join(' ')}
${folders === '' ? '' : `ReadWritePaths=${folders}\n`}`
}

/** Undefined where the text is no drop-in of an installation. */
export function readRecord(text: string | undefined): Record | undefined {
  const line = text?.split('\n').find(one => one.startsWith(RECORD))
  if (line === undefined) return undefined
  const { flags, docker, enabled, started } = Object(orUndefined(() => JSON.parse(line.slice(RECORD.length))))
  if (!Array.isArray(flags) || !flags.every(flag => typeof flag === 'string')) return undefined
  return { flags, docker: docker === true, enabled: enabled === true, started: started === true }
}

/** Folders of files that the flags name, if the unit does not make them writable: the rest is read-only. */
export function writableFolders(flags: readonly string[]): readonly string[] {
  const folders = flags.flatMap(flag => {
    const [, name, path = ''] =
      /^--(cni-conf-file|subnet-file|cache-file|local-socket|embedded-etcd-dir)=(.*)$/.exec(flag) ?? []
    if (!path.startsWith('/')) return []
    return [name === 'embedded-etcd-dir' ? path : dirname(path)]
  })
  const isOwn = (folder: string) => ownFolders.some(own => folder === own || folder.startsWith(`${own}/`))
  return [...new Set(folders)].filter(folder => !isOwn(folder))
}

/** One word of ExecStart= (systemd.service(5), "Command lines"; systemd.unit(5), "Specifiers"). */
function systemdWord(word: string): string {
  const plain = word.replaceAll('%', '%%').replaceAll('$', () => '$$')
  if (/^[\w%+,./:=@$-]+$/.test(plain)) return plain
  return `"${plain.replaceAll(/[\\"]/g, '\\$&').replaceAll('\n', '\\n')}"`
}
