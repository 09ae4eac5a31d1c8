/** Why an etcd ended by itself, and what to do. Pure. Knows the causes of etcd 3.4 and 3.5. */
import { orUndefined } from '../../lease/common/errors.ts'

/** The reason in the last line of etcd's log: `failed to create WAL: no space left on device`. */
export function fatalReason(line: string): string | undefined {
  if (!line.startsWith('{')) return undefined
  const { level, msg, error } = Object(orUndefined(() => JSON.parse(line)))
  if (level !== 'fatal' && level !== 'panic') return undefined
  const texts = [msg, error].filter(text => typeof text === 'string')
  return texts.join(': ').slice(0, 300)
}

const damaged =
  /crc mismatch|invalid database|file size too small|failed to (open|recover|read|find)|corrupt|unexpected EOF|checksum/i

export function whatToDo(reason: string, dataDir: string): string {
  const member = `${dataDir}/member`
  if (/no space left|disk quota exceeded/i.test(reason))
    return `the disk of ${dataDir} is full (${reason}): free space there; etcd is started again by itself`
  if (/removed from the cluster/i.test(reason))
    return `this member was removed from its cluster: move ${member} away and start again with --join and --member`
  if (damaged.test(reason))
    return (
      `its data in ${member} is damaged (${reason}): stop the agent, move ${member} away, put the last backup there if there is one, and start ` +
      'the agent again. Without a backup etcd starts empty, and each node registers again under the subnet that it has; a host that ' +
      'joined with --member gets its data from the others'
    )
  return reason
}
