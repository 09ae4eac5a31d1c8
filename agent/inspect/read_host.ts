import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { orUndefined } from '../../lease/common/errors.ts'
import type { HostFacts, IptablesDump } from '../diagnose/host_facts.ts'
import { bridgeSetting, conntrackSettings, forwardingSetting } from '../diagnose/settings.ts'
import { deviceSetting } from '../state/device_setting.ts'
import { parseFdb, parseLinks, parseNeighbors, parseRoutes, parseRules } from './iproute2_json.ts'

/** In bytes: a busy host's ruleset is some MB. */
const MAX_OUTPUT = 256 * 1024 * 1024
/** Time-out of a tool, which may wait for a lock. */
const TOOL_MS = 10_000

/** What fails is named in `unseen`. `neighborsOn`: reads only that device's neighbors, and no FDB. */
export async function readHost(signal: AbortSignal, neighborsOn?: string): Promise<HostFacts> {
  const unseen: string[] = []
  const run = (command: readonly string[]) => output(command, unseen, signal)
  const on = neighborsOn === undefined ? [] : ['dev', neighborsOn]
  const json = async (command: string) => parseJson(await run(command.split(' ')))
  const commands = [
    'ip -j -d address show',
    'ip -j -4 rule show',
    'ip -j -6 rule show',
    'nft -j list ruleset',
  ]
  const [links, rules4, rules6, nft] = await Promise.all(commands.map(json))
  return {
    links: parseLinks(links),
    rules: [...parseRules(rules4, 'ipv4'), ...parseRules(rules6, 'ipv6')],
    // Thousands of each: read one after the other, so that an agent need not hold all JSON at once.
    routes: [
      ...parseRoutes(await json('ip -j -4 route show table all'), 'ipv4'),
      ...parseRoutes(await json('ip -j -6 route show table all'), 'ipv6'),
    ],
    neighbors: parseNeighbors(parseJson(await run(['ip', '-j', 'neigh', 'show', ...on]))),
    fdb: neighborsOn === undefined ? parseFdb(await json('bridge -j fdb show')) : undefined,
    sysctls: await readSysctls(parseLinks(links).map(({ name }) => name)),
    iptables: await readIptables(run),
    nftables: nft,
    nftText: namesDevices(nft) ? '' : await run(['nft', 'list', 'ruleset']),
    reversePathDrops: await readReversePathDrops(),
    unseen,
  }
}

/** Whether the JSON has the devices of ingress and egress chains: nft before 1.0.9 leaves them out. */
function namesDevices(ruleset: unknown): boolean {
  const text = JSON.stringify(ruleset ?? null)
  return !/"hook":"(in|e)gress"/.test(text) || text.includes('"dev":')
}

/** The TcpExt lines of /proc/net/netstat: names, then values. */
async function readReversePathDrops(): Promise<number> {
  const text = await readFile('/proc/net/netstat', 'utf8').catch(() => '')
  const [names = [], values = []] = text
    .split('\n')
    .filter(line => line.startsWith('TcpExt:'))
    .map(line => line.split(' '))
  return Number(values[names.indexOf('IPReversePathFilter')] ?? 0)
}

const iptables = [
  { family: 'ipv4', command: 'iptables-save' },
  { family: 'ipv4', command: 'iptables-legacy-save' },
  { family: 'ipv6', command: 'ip6tables-save' },
  { family: 'ipv6', command: 'ip6tables-legacy-save' },
] as const

/** The `-save` commands of both flavours each show only a part of the kernel's rules. */
async function readIptables(run: (command: readonly string[]) => Promise<string>): Promise<IptablesDump[]> {
  const dumps = await Promise.all(iptables.map(async one => ({ ...one, text: await run([one.command]) })))
  const seen = new Set<string>()
  return dumps.filter(({ family, text }) => {
    const rules = `${family} ${text.replaceAll(/^#.*$/gm, '')}`
    if (text === '' || seen.has(rules)) return false
    seen.add(rules)
    return true
  })
}

const settings = (device: string) => [
  deviceSetting('ipv4', device, 'rp_filter'),
  deviceSetting('ipv4', device, 'forwarding'),
  deviceSetting('ipv4', device, 'arp_ignore'),
  deviceSetting('ipv6', device, 'disable_ipv6'),
  deviceSetting('ipv6', device, 'accept_ra'),
]

async function readSysctls(devices: readonly string[]): Promise<Record<string, string>> {
  const names = [
    ...Object.values(forwardingSetting),
    ...Object.values(bridgeSetting),
    ...Object.values(conntrackSettings),
    ...['all', ...devices].flatMap(settings),
  ]
  const values = await Promise.all(names.map(async name => [name, await readSysctl(name)] as const))
  return Object.fromEntries(values.filter((pair): pair is [string, string] => pair[1] !== undefined))
}

/** Undefined if there is none. The path has slashes for dots, and dots for slashes. */
async function readSysctl(name: string): Promise<string | undefined> {
  const path = name.replaceAll(/[./]/g, separator => (separator === '.' ? '/' : '.'))
  const text = await readFile(`/proc/sys/${path}`, 'utf8').catch(() => undefined)
  return text?.trim()
}

/** Standard output; empty, with a note, if the tool is missing or fails. */
function output(command: readonly string[], unseen: string[], signal: AbortSignal): Promise<string> {
  const [file = '', ...words] = command
  // A user's PATH lacks sbin.
  const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` }
  const options = { signal, timeout: TOOL_MS, maxBuffer: MAX_OUTPUT, env }
  return new Promise(resolve => {
    execFile(file, words, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      const missing = 'code' in error && error.code === 'ENOENT'
      const late = signal.aborted || error.killed === true
      const reason = late ? 'no answer in time' : stderr.trim().split('\n')[0] || error.message
      if (!missing || !file.includes('legacy'))
        unseen.push(`'${command.join(' ')}': ${missing ? 'not installed' : reason}`)
      resolve('')
    })
  })
}

function parseJson(text: string): unknown {
  return orUndefined(() => JSON.parse(text))
}
