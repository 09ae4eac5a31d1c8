import { execFile } from 'node:child_process'
import { connect } from 'node:net'
import { ExpectedError } from '../../lease/common/errors.ts'
import { familyOf, type Ip } from '../../lease/net/ip.ts'
import type { ProbeResult, ProbeTarget } from '../diagnose/probes/probe_result.ts'
import { leastMtu } from '../state/kernel_defaults.ts'
import { largestPassing, udpHeaders } from './datagram.ts'
import { deadWays, oneWay } from './one_way.ts'

const BULK_BYTES = 1024 * 1024
const BULK_MS = 5_000

/**
 * Probes one peer over underlay and overlay; by ping alone where the target's port is 0. At most about 30 s,
 * and 2 MB. Throws ExpectedError.
 */
export async function probe(target: ProbeTarget, signal: AbortSignal): Promise<ProbeResult> {
  const { node, publicIp, overlayIp, from, underlayMtu, overlayMtu, port } = target
  const [underlayMs, overlayMs] = await Promise.all([
    roundTrip(publicIp, undefined, signal),
    roundTrip(overlayIp, from, signal),
  ])
  const underlayCarries = underlayMs === null ? null : await largest(publicIp, undefined, underlayMtu, signal)
  const known = { node, publicIp, overlayIp, underlayMs, overlayMs, underlayCarries }
  const asksAgents = port !== 0
  if (overlayMs === null) {
    const dead = (asksAgents ? await deadWays(target, signal) : undefined) ?? null
    return { ...known, overlayCarries: null, ways: null, dead, bulk: null }
  }
  const way = { to: overlayIp, from, port, overlayMtu }
  const ways = (asksAgents ? await oneWay(way, signal) : undefined) ?? null
  const overlayCarries =
    ways === null ? await largest(overlayIp, from, overlayMtu, signal) : ways.carriesThere
  const bulk = asksAgents ? await transfer(overlayIp, from, port) : null
  return { ...known, overlayCarries, ways, dead: null, bulk }
}

/** Median of three, in ms; null without an answer. */
async function roundTrip(to: Ip, from: Ip | undefined, signal: AbortSignal): Promise<number | null> {
  const output = await ping(['-c', '3', '-i', '0.2', '-W', '1'], to, from, signal)
  const times = Array.from(output.matchAll(/time[=<]([\d.]+) ms/g), ([, ms]) => Number(ms))
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? null
}

/** The largest unfragmented packet to arrive, in bytes with its IP header, up to `expected`; null: none. */
async function largest(to: Ip, from: Ip | undefined, expected: number, signal: AbortSignal) {
  const passes = async (size: number) => {
    const words = ['-c', '1', '-W', '1', '-M', 'do', '-s', String(size - udpHeaders(to))]
    return /time[=<]/.test(await ping(words, to, from, signal))
  }
  // Once more, as one packet may be lost by chance.
  return (await passes(expected)) ? expected : await largestPassing(leastMtu[familyOf(to)], expected, passes)
}

/** Standard output. Throws ExpectedError if ping cannot be run. */
function ping(words: readonly string[], to: Ip, from: Ip | undefined, signal: AbortSignal): Promise<string> {
  const source = from === undefined ? [] : ['-I', from]
  return new Promise((resolve, reject) => {
    const all = ['-n', ...words, ...source, to]
    execFile('ping', all, { signal, timeout: 10_000 }, (error, stdout, stderr) => {
      if (error !== null && 'code' in error && error.code === 'ENOENT')
        reject(new ExpectedError('ping is not installed: apt-get install iputils-ping'))
      else if (/not permitted|Permission denied|[Ll]acking privilege/.test(stderr))
        reject(new ExpectedError(`ping may not send: ${stderr.trim()}; run twill probe as root`))
      else resolve(stdout)
    })
  })
}

/** Sends BULK_BYTES over the overlay by TCP, which may hang where ping works. */
function transfer(to: Ip, from: Ip, port: number): Promise<ProbeResult['bulk']> {
  return new Promise(resolve => {
    const startedMs = performance.now()
    const socket = connect({ host: to, port, localAddress: from })
    const end = (outcome: NonNullable<ProbeResult['bulk']>) => {
      clearTimeout(timer)
      socket.destroy()
      resolve(outcome)
    }
    let hasConnected = false
    const timer = setTimeout(() => end(hasConnected ? 'hangs' : 'no answer'), BULK_MS)
    socket.once('connect', () => {
      hasConnected = true
      const message = Buffer.alloc(4 + BULK_BYTES)
      message.writeUInt32BE(BULK_BYTES, 0)
      socket.write(message)
    })
    socket.once('data', () =>
      end({ mbitPerSecond: (BULK_BYTES * 8) / 1000 / (performance.now() - startedMs) }),
    )
    socket.once('error', () => end('no answer'))
  })
}
