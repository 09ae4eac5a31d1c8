import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import {
  type HostFacts,
  type IptablesDump,
  parseFdb,
  parseLinks,
  parseNeighbors,
  parseRoutes,
  parseRules,
} from '../diagnose/host_facts.ts'

/** A ruleset of a busy host is some MB. */
const MAX_OUTPUT = 256 * 1024 * 1024
/** A tool that waits for a lock. */
const TOOL_MS = 10_000

/** What this host's kernel says of its network, by iproute2, iptables and nft. What does not answer is named in `unseen`. */
export async function readHost(signal: AbortSignal): Promise<HostFacts> {
  const unseen: string[] = []
  const run = (command: readonly string[]) => output(command, unseen, signal)
  const json = async (command: string) => parseJson(await run(command.split(' ')))
  const [links, rules4, rules6, routes4, routes6, neighbors, fdb, nft] = await Promise.all([
    json('ip -j -d address show'),
    json('ip -j -4 rule show'),
    json('ip -j -6 rule show'),
    json('ip -j -4 route show table all'),
    json('ip -j -6 route show table all'),
    json('ip -j neigh show'),
    json('bridge -j fdb show'),
    json('nft -j list ruleset'),
  ])
  return {
    links: parseLinks(links),
    rules: [...parseRules(rules4, 'ipv4'), ...parseRules(rules6, 'ipv6')],
    routes: [...parseRoutes(routes4, 'ipv4'), ...parseRoutes(routes6, 'ipv6')],
    neighbors: parseNeighbors(neighbors),
    fdb: parseFdb(fdb),
    sysctls: await readSysctls(parseLinks(links).map(({ name }) => name)),
    iptables: await readIptables(run),
    nftables: nft,
    unseen,
  }
}

const iptables = [
  { family: 'ipv4', command: 'iptables-save' },
  { family: 'ipv4', command: 'iptables-legacy-save' },
  { family: 'ipv6', command: 'ip6tables-save' },
  { family: 'ipv6', command: 'ip6tables-legacy-save' },
] as const

/** Where one flavour is the default, its `-save` and the other's tell two halves of what the kernel holds. */
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
  `net.ipv4.conf.${device}.rp_filter`,
  `net.ipv4.conf.${device}.forwarding`,
  `net.ipv6.conf.${device}.disable_ipv6`,
]

async function readSysctls(devices: readonly string[]): Promise<Record<string, string>> {
  const names = [
    'net.ipv4.ip_forward',
    'net.ipv6.conf.all.forwarding',
    'net.bridge.bridge-nf-call-iptables',
    ...['all', ...devices].flatMap(settings),
  ]
  const values = await Promise.all(names.map(async name => [name, await readSysctl(name)] as const))
  return Object.fromEntries(values.filter((pair): pair is [string, string] => pair[1] !== undefined))
}

/** A device's name may hold dots, which are no separators: they stand as slashes in the path of the others. */
async function readSysctl(name: string): Promise<string | undefined> {
  const parts = /^(net\.ipv[46]\.conf)\.(.+)\.([a-z0-9_]+)$/.exec(name)
  const path =
    parts === null ? name.replaceAll('.', '/') : `${parts[1]?.replaceAll('.', '/')}/${parts[2]}/${parts[3]}`
  try {
    return (await readFile(`/proc/sys/${path}`, 'utf8')).trim()
  } catch {
    return undefined
  }
}

/** Standard output; empty, with a note, where the tool is missing or refuses. */
function output(command: readonly string[], unseen: string[], signal: AbortSignal): Promise<string> {
  const [file = '', ...words] = command
  const options = {
    signal,
    timeout: TOOL_MS,
    maxBuffer: MAX_OUTPUT,
    env: { ...process.env, PATH: searchPath() },
  }
  return new Promise(resolve => {
    execFile(file, words, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      const missing = 'code' in error && error.code === 'ENOENT'
      const reason = stderr.trim().split('\n')[0] || error.message
      if (!missing || !file.includes('legacy'))
        unseen.push(`'${command.join(' ')}': ${missing ? 'not installed' : reason}`)
      resolve('')
    })
  })
}

/** A user's PATH has no sbin. */
function searchPath(): string {
  return `${process.env.PATH ?? ''}:/usr/sbin:/sbin`
}

function parseJson(text: string): unknown {
  try {
    return text.trim() === '' ? undefined : JSON.parse(text)
  } catch {
    return undefined
  }
}
