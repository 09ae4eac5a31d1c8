import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

/**
 * What a program that follows the Nodes prints, a line of JSON each: how many there are when it has them all, each further
 * public IP of the Node `sentinel`, each Node `join...` that it can program, and its usage for each line that it reads.
 */

export const prefix = 'flannel.alpha.coreos.com'
export const kubeconfigFile = process.env.BENCH_KUBECONFIG ?? ''

let last: string | undefined

/** Says it where the sentinel's public IP is another one; the first one is only noted. */
export function noteSentinel(publicIp: string | undefined): void {
  if (last !== undefined && publicIp !== last) say({ sentinel: publicIp })
  last = publicIp
}

const joined = new Set<string>()

export function noteJoin(name: string): void {
  if (!name.startsWith('join') || joined.has(name)) return
  joined.add(name)
  say({ join: Number(name.slice('join'.length)), atMs: performance.timeOrigin + performance.now() })
}

export function say(what: object): void {
  process.stdout.write(`${JSON.stringify(what)}\n`)
}

/** Until standard input ends, which ends the program. */
export function follow(way: () => Promise<void>): void {
  createInterface(process.stdin)
    .on('line', () => say(usage()))
    .on('close', () => process.exit(0))
  way().catch((error: unknown) => {
    console.error(error)
    process.exit(1)
  })
}

/** Sizes in KiB, as the kernel has them; CPU in ms. */
function usage(): object {
  const status = readFileSync('/proc/self/status', 'utf8')
  const size = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1])
  const { user, system } = process.cpuUsage()
  return { rssKib: size('VmRSS'), peakKib: size('VmHWM'), cpuMs: (user + system) / 1000 }
}
