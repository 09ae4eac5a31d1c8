import { execFile } from 'node:child_process'
import { connect } from 'node:net'
import { familyOf, type Ip } from '../../lease/net/ip.ts'
import type { ProbeResult, ProbeTarget } from '../diagnose/probe_result.ts'

/** IP and ICMP headers before ping's payload, in bytes. */
const HEADERS = { ipv4: 28, ipv6: 48 } as const
/** The smallest MTU that each family must carry (RFC 791, RFC 8200). */
const SMALLEST = { ipv4: 68, ipv6: 1280 } as const
const BULK_BYTES = 1024 * 1024
const BULK_MS = 5_000

/** Probes one peer from this host, over the underlay and over the overlay. Takes at most about 20 s, and 2 MB. */
export async function probe(target: ProbeTarget, signal: AbortSignal): Promise<ProbeResult> {
  const { node, publicIp, overlayIp, from, underlayMtu, overlayMtu, port } = target
  const [underlayMs, overlayMs] = await Promise.all([
    roundTrip(publicIp, undefined, signal),
    roundTrip(overlayIp, from, signal),
  ])
  const underlayCarries = underlayMs === null ? null : await largest(publicIp, undefined, underlayMtu, signal)
  const overlayCarries = overlayMs === null ? null : await largest(overlayIp, from, overlayMtu, signal)
  const bulk = overlayMs === null ? null : await transfer(overlayIp, from, port)
  return { node, publicIp, overlayIp, underlayMs, overlayMs, underlayCarries, overlayCarries, bulk }
}

/** Median of three, in ms; null where none was answered. */
async function roundTrip(to: Ip, from: Ip | undefined, signal: AbortSignal): Promise<number | null> {
  const output = await ping(['-c', '3', '-i', '0.2', '-W', '1'], to, from, signal)
  const times = Array.from(output.matchAll(/time[=<]([\d.]+) ms/g), ([, ms]) => Number(ms)).sort(
    (a, b) => a - b,
  )
  return times[Math.floor(times.length / 2)] ?? null
}

/** The largest packet that arrives unfragmented, in bytes with its IP header, up to `expected`; null where none does. */
async function largest(
  to: Ip,
  from: Ip | undefined,
  expected: number,
  signal: AbortSignal,
): Promise<number | null> {
  const family = familyOf(to)
  const passes = async (size: number) => {
    const words = ['-c', '1', '-W', '1', '-M', 'do', '-s', String(size - HEADERS[family])]
    return /time[=<]/.test(await ping(words, to, from, signal))
  }
  // Twice, as one packet may be lost by chance.
  if ((await passes(expected)) || (await passes(expected))) return expected
  let low: number = SMALLEST[family]
  let high = expected
  if (!(await passes(low))) return null
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (await passes(middle)) low = middle
    else high = middle
  }
  return low
}

/** Standard output, empty where ping is not there. */
function ping(words: readonly string[], to: Ip, from: Ip | undefined, signal: AbortSignal): Promise<string> {
  const source = from === undefined ? [] : ['-I', from]
  return new Promise(resolve => {
    execFile('ping', ['-n', ...words, ...source, to], { signal, timeout: 10_000 }, (_, stdout) =>
      resolve(stdout),
    )
  })
}

/** Sends a bulk of data over the overlay: ping may work where TCP hangs. */
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
