import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runSync } from './exec.ts'

// Beds keep their files here, one directory each. It is in /run, as the namespaces' names are, on purpose: a
// process with a /run of its own then sees neither the namespaces nor the files of others.
const bedsDirectory = '/run/twill-bed'

/** The process that owns a bed. The bed is a leftover once that process is gone, unless it is to be kept. */
interface Owner {
  readonly pid: number
  /**
   * Clock ticks since boot (proc_pid_stat(5), field 22): a pid is used again, a pid with its start time is
   * not.
   */
  readonly startTime: string
  readonly kept: boolean
}

/**
 * Makes a bed's directory and notes this process as its owner. `kept`: the bed stays when the process ends.
 */
export function claimBed(id: string, kept = false): string {
  const directory = join(bedsDirectory, id)
  mkdirSync(directory, { recursive: true })
  const owner: Owner = { pid: process.pid, startTime: startTime(process.pid) ?? '', kept }
  writeFileSync(join(directory, 'owner.json'), JSON.stringify(owner))
  return directory
}

/** Removes beds whose process crashed or was killed; returns their ids. */
export function removeLeftovers(): string[] {
  const left = bedIds().filter(id => {
    const owner = readOwner(id)
    return owner !== undefined && !owner.kept && startTime(owner.pid) !== owner.startTime
  })
  for (const id of left) removeBed(id)
  return left
}

/** The ids of the kept beds. */
export function keptBeds(): string[] {
  return bedIds().filter(id => readOwner(id)?.kept)
}

/**
 * Ends every process in a bed's namespaces, whichever process started it, and removes the namespaces with all
 * their devices, then the files. Synchronous, so that it also works while this process exits.
 */
export function removeBed(id: string): void {
  const names = list('/run/netns').filter(name => name.startsWith(`${id}-`))
  killAllIn(new Set(names.flatMap(name => namespaceId(`/run/netns/${name}`) ?? [])))
  runSync(['ip', '-force', '-batch', '-'], names.map(name => `netns delete ${name}\n`).join(''))
  rmSync(join(bedsDirectory, id), { recursive: true, force: true })
}

function bedIds(): string[] {
  return list(bedsDirectory)
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

/** Undefined for a bed that another process is just making or removing. */
function readOwner(id: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(join(bedsDirectory, id, 'owner.json'), 'utf8'))
  } catch {
    return undefined
  }
}

/** Undefined where there is no such process. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field, a name in parentheses, may contain blanks.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}

function killAllIn(namespaces: ReadonlySet<string>): void {
  for (const pid of list('/proc').filter(name => /^\d+$/.test(name))) {
    const namespace = namespaceId(`/proc/${pid}/ns/net`)
    if (namespace === undefined || !namespaces.has(namespace) || Number(pid) === process.pid) continue
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch {
      // The process has ended meanwhile.
    }
  }
}

/**
 * Device and inode number: what tells namespaces apart (namespaces(7)). Undefined for a name without a
 * namespace.
 */
function namespaceId(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path)
    return dev === statSync('/proc/self/ns/net').dev ? `${dev} ${ino}` : undefined
  } catch {
    return undefined
  }
}
