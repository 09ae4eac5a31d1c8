import { describe, expect, it } from 'vitest'
import { type Import, parseImports, readSource, sourceFiles } from './imports.ts'

/**
 * Who may import whom: a room, and the rooms or single files that it may use besides itself. A file belongs to the
 * longest room that its path starts with. `types:` in front of a room: only what is gone once compiled.
 */
const ground = ['lease/common/', 'lease/net/']
/** The words of the lease side, which stores and readers of leases share. */
const words = [...ground, 'lease/', 'lease/network_config/']
const mayUse: Readonly<Record<string, readonly string[]>> = {
  // Who owns which subnet; knows nothing of the kernel.
  'lease/common/': [],
  'lease/net/': ['lease/common/'],
  'lease/json/': ['lease/common/'],
  'lease/network_config/': [...ground, 'lease/json/'],
  'lease/': [...ground, 'lease/json/', 'lease/network_config/'],
  'lease/admission/': words,
  'lease/cache/': [...words, 'lease/json/'],
  // What etcd is asked, and how it answers; then what this means for leases.
  'lease/etcd/client/': [...ground, 'lease/json/', 'lease/options.ts'],
  'lease/etcd/last_seen/': [...words, 'lease/cache/', 'lease/json/', 'lease/etcd/client/'],
  'lease/etcd/records/': [...words, 'lease/etcd/client/', 'lease/etcd/last_seen/'],
  'lease/etcd/own_key/': [...words, 'lease/json/', 'lease/etcd/client/', 'lease/etcd/records/'],
  'lease/etcd/network_config/': [...words, 'lease/json/', 'lease/etcd/client/', 'lease/etcd/records/'],
  'lease/etcd/': [
    ...words,
    'lease/json/',
    'lease/etcd/client/',
    'lease/etcd/last_seen/',
    'lease/etcd/records/',
    'lease/etcd/own_key/',
    'lease/etcd/network_config/',
  ],
  // What the API server is asked, and how it answers; then what this means for leases.
  'lease/kubernetes/client/': [...ground, 'lease/json/', 'lease/options.ts', 'types:lease/store.ts'],
  'lease/kubernetes/nodes/': [...words, 'lease/json/', 'lease/kubernetes/client/'],
  'lease/kubernetes/peers/': [
    ...words,
    'lease/cache/',
    'lease/json/',
    'lease/kubernetes/client/',
    'lease/kubernetes/nodes/',
  ],
  'lease/kubernetes/own_node/': [
    ...words,
    'lease/json/',
    'lease/kubernetes/client/',
    'lease/kubernetes/nodes/',
  ],
  'lease/kubernetes/': [
    ...words,
    'lease/json/',
    'lease/kubernetes/client/',
    'lease/kubernetes/nodes/',
    'lease/kubernetes/peers/',
    'lease/kubernetes/own_node/',
  ],
  'lease/registry.ts': [...words, 'lease/etcd/', 'lease/etcd/last_seen/', 'lease/kubernetes/'],

  // From leases to kernel entries, without doing anything.
  'agent/state/': ['lease/common/multi_map.ts', 'lease/net/', 'lease/lease.ts'],
  'agent/backend/': [
    ...ground,
    'agent/state/',
    'lease/lease.ts',
    'lease/backend_data.ts',
    'lease/json/json.ts',
    'lease/network_config/network_config.ts',
  ],
  'agent/membership/': [...words, 'lease/admission/', 'agent/state/', 'agent/backend/'],
  'agent/map/': [...words, 'agent/backend/', 'agent/membership/'],
  'agent/diagnose/': [
    ...words,
    'agent/map/',
    'agent/membership/',
    'agent/state/',
    'agent/backend/',
    'agent/diagnose/doctor/',
    'agent/diagnose/probes/',
    'agent/diagnose/trace/',
  ],
  'agent/diagnose/probes/': [
    ...ground,
    'lease/lease.ts',
    'agent/diagnose/node_view.ts',
    'agent/diagnose/doctor/finding.ts',
    'agent/diagnose/trace/',
  ],
  'agent/diagnose/firewall/': [...ground, 'agent/diagnose/host_facts.ts'],
  'agent/diagnose/trace/': [
    ...words,
    'agent/state/',
    'agent/backend/',
    'agent/diagnose/host_facts.ts',
    'types:agent/diagnose/node_view.ts',
    'agent/diagnose/pod_bridge.ts',
    'agent/diagnose/route_lookup.ts',
    'agent/diagnose/settings.ts',
    'agent/diagnose/firewall/',
    'agent/firewall/family_words.ts',
  ],
  'agent/diagnose/doctor/': [
    ...words,
    'agent/state/',
    'agent/diagnose/',
    'agent/diagnose/firewall/nft_json.ts',
    'agent/diagnose/trace/',
  ],
  'agent/probe/': [
    ...ground,
    'lease/json/json.ts',
    'agent/diagnose/',
    'agent/diagnose/probes/',
    'agent/netlink/socket/libc.ts',
    'agent/state/kernel_defaults.ts',
  ],
  'agent/inspect/': [
    ...ground,
    'lease/store.ts',
    'agent/diagnose/',
    'agent/diagnose/doctor/',
    'agent/node_files/',
    'agent/kernel/kernel.ts',
    'agent/netlink/port_holder.ts',
    'agent/state/',
    'agent/probe/',
  ],

  // The kernel; who decides needs no more of it than its interface.
  'agent/netlink/': [...ground, 'agent/netlink/codec/', 'agent/netlink/socket/'],
  'agent/netlink/codec/': ground,
  'agent/netlink/socket/': [...ground, 'agent/netlink/errno.ts'],
  'agent/kernel/': [
    ...ground,
    'agent/kernel/apply/',
    'agent/kernel/notifications/',
    'agent/kernel/snapshot/',
    'agent/netlink/',
    'types:agent/netlink/codec/',
    'agent/netlink/socket/',
    'agent/state/',
  ],
  'agent/kernel/snapshot/': [
    ...ground,
    'types:agent/kernel/kernel.ts',
    'agent/netlink/',
    'agent/netlink/codec/',
    'types:agent/state/',
  ],
  'agent/kernel/apply/': [
    ...ground,
    'agent/kernel/snapshot/',
    'agent/netlink/',
    'agent/netlink/codec/',
    'agent/netlink/socket/libc.ts',
    'agent/state/',
  ],
  'agent/kernel/notifications/': [
    ...ground,
    'types:agent/kernel/kernel.ts',
    'types:agent/kernel/kernel_trace.ts',
    'agent/kernel/snapshot/',
    'types:agent/netlink/',
    'agent/netlink/codec/',
    'types:agent/netlink/socket/',
    'agent/state/',
  ],
  'agent/reconcile/': ['lease/common/', 'agent/state/', 'agent/kernel/kernel.ts'],
  'agent/underlay/': [
    ...ground,
    'lease/admission/host_networks.ts',
    'lease/admission/public_ip.ts',
    'lease/network_config/network_config.ts',
    'types:lease/store.ts',
    'agent/state/',
    'agent/backend/',
    'agent/kernel/kernel.ts',
  ],

  // What stands beside the kernel's entries on a node.
  'agent/firewall/': [...ground, 'lease/node_subnets.ts'],
  'agent/instance/': [...ground, 'agent/netlink/socket/libc.ts'],
  'agent/node_files/': [...ground, 'lease/node_subnets.ts'],
  'agent/embedded_etcd/': [
    ...ground,
    'agent/state/',
    'agent/underlay/',
    'agent/kernel/kernel.ts',
    'agent/netlink/port_holder.ts',
    'lease/etcd/client/certificates.ts',
    'lease/join_token.ts',
    'lease/options.ts',
    'lease/registry.ts',
    'types:agent/config/',
    'types:lease/',
  ],

  'agent/host_side/': [
    ...ground,
    'lease/node_subnets.ts',
    'types:lease/',
    'types:lease/network_config/',
    'types:agent/backend/',
    'types:agent/config/',
    'agent/firewall/',
    'types:agent/membership/',
    'agent/netlink/nft_generation.ts',
    'agent/node_files/',
    'agent/probe/',
    'agent/status/host_watch.ts',
  ],

  // How a node gets its lease.
  'agent/join/': [
    ...ground,
    'types:lease/',
    'types:lease/network_config/',
    'types:agent/backend/',
    'types:agent/config/',
    'agent/kernel/kernel.ts',
    'agent/membership/',
    'agent/node_files/',
    'agent/state/',
    'agent/underlay/',
  ],

  // A host that becomes a node, or stops being one.
  'agent/install/': [...ground, 'types:agent/firewall/', 'agent/config/', 'agent/diagnose/settings.ts'],

  // The Node.js that runs it all: new enough, and its memory tuned, before the rest is loaded.
  'agent/runtime/': ['agent/main.ts', 'agent/cli/main.ts', 'agent/netlink/socket/libc.ts'],

  // What operators give and see.
  'agent/config/': [
    ...words,
    'types:agent/firewall/',
    'types:agent/kernel/apply/tx_checksum.ts',
    'types:agent/status/supervisor.ts',
    'types:agent/status/log/',
    'types:agent/underlay/',
  ],
  'agent/status/': [
    ...ground,
    'types:lease/',
    'types:lease/network_config/',
    'agent/state/',
    'types:agent/reconcile/',
    'types:agent/membership/',
    'types:agent/underlay/',
    'types:agent/firewall/',
    'types:agent/node_files/',
    'agent/netlink/socket/libc.ts',
    'agent/diagnose/bridge_subnet.ts',
    'types:agent/diagnose/doctor/',
    'types:agent/diagnose/',
  ],
  'agent/status/log/': [
    ...ground,
    'lease/lease.ts',
    'agent/state/',
    'types:agent/reconcile/',
    'types:agent/membership/',
  ],
  'agent/status/http/': [
    ...ground,
    'agent/status/',
    'agent/status/log/log_level.ts',
    'types:agent/status/log/',
    'types:agent/diagnose/',
    'agent/map/',
  ],
  // What a command is, what it writes, where its answers come from; then the commands, and the program over them.
  'agent/cli/output/': [...ground, 'types:agent/map/'],
  'agent/cli/definition/': [...ground, 'types:lease/', 'types:agent/cli/output/', 'agent/config/'],
  'agent/cli/source/': [
    ...words,
    'lease/cache/',
    'lease/registry.ts',
    'agent/backend/',
    'types:agent/cli/definition/',
    'types:agent/cli/output/',
    'agent/config/',
    'agent/diagnose/',
    'agent/inspect/',
    'agent/kernel/netlink_kernel.ts',
    'agent/map/',
    'agent/membership/',
  ],
  'agent/cli/install/': [
    ...ground,
    'lease/join_token.ts',
    'types:lease/network_config/',
    'types:lease/',
    'agent/backend/',
    'agent/cli/source/',
    'agent/config/',
    'types:agent/diagnose/',
    'agent/diagnose/doctor/',
    'agent/inspect/',
    'agent/install/',
    'agent/kernel/netlink_kernel.ts',
    'agent/netlink/port_holder.ts',
    'agent/state/',
    'agent/underlay/',
  ],
  'agent/cli/commands/': [
    ...words,
    'lease/registry.ts',
    'agent/backend/',
    'agent/cli/definition/',
    'agent/cli/install/',
    'agent/cli/output/',
    'agent/cli/source/',
    'agent/config/',
    'agent/diagnose/',
    'agent/diagnose/doctor/',
    'agent/diagnose/probes/',
    'agent/diagnose/trace/',
    'agent/firewall/',
    'agent/inspect/',
    'agent/install/',
    'agent/instance/',
    'agent/kernel/',
    'agent/map/',
    'agent/node_files/',
    'agent/reconcile/',
    'agent/state/',
    'agent/status/log/log_level.ts',
    'agent/exit_code.ts',
    'agent/version.ts',
  ],
  'agent/cli/': [
    ...ground,
    'agent/cli/commands/',
    'agent/cli/definition/',
    'types:agent/cli/output/',
    'agent/cli/source/store_unreachable.ts',
    'agent/config/',
    'agent/runtime/end_process.ts',
    'agent/exit_code.ts',
    'agent/version.ts',
  ],
}

/** Wiring: the only files that see everything. */
const seeAll = new Set(['agent/agent.ts', 'agent/main.ts', 'agent/overlay.ts'])

/** The only files that lie flat in agent/: wiring, entry, and two leaves. */
const hall = ['agent.ts', 'exit_code.ts', 'main.ts', 'overlay.ts', 'version.ts']

/** A room with more lines is hard to know: it becomes several. */
const MOST_LINES = 1_600

const declared = Object.keys(JSON.parse(readSource('package.json')).dependencies)
const files = [...sourceFiles('lease'), ...sourceFiles('agent')]
const tests = sourceFiles('test')
const testImports = tests.flatMap(file => parseImports(file, readSource(file)))
const imports = files.flatMap(file => parseImports(file, readSource(file)))
const isOurs = (to: string) => /\.[jt]s$/.test(to)
const ours = imports.filter(({ to }) => isOurs(to))

describe('the layers', () => {
  it('import only what lies below them', () => {
    expect(ours.filter(one => !allowed(one)).map(print)).toEqual([])
  })

  it('leave only wiring flat in agent/', () => {
    const flat = files.filter(file => /^agent\/[^/]+$/.test(file)).map(file => file.slice('agent/'.length))
    expect(flat).toEqual(hall)
  })

  it('have a rule for each room', () => {
    const rooms = new Set(files.map(file => file.slice(0, file.lastIndexOf('/') + 1)))
    expect([...rooms].filter(room => room !== 'agent/' && !(room in mayUse))).toEqual([])
  })

  it(`hold at most ${MOST_LINES} lines in a folder's own files`, () => {
    const lines = new Map<string, number>()
    for (const file of files) {
      const room = file.slice(0, file.lastIndexOf('/') + 1)
      lines.set(room, (lines.get(room) ?? 0) + readSource(file).trimEnd().split('\n').length)
    }
    expect(Array.from(lines).filter(([, count]) => count > MOST_LINES)).toEqual([])
  })

  it('keep lease/ free of agent/', () => {
    const upward = ours.filter(({ from, to }) => from.startsWith('lease/') && !to.startsWith('lease/'))
    expect(upward.map(print)).toEqual([])
  })

  it('do no I/O in state, backends and the netlink codec', () => {
    const pure = imports.filter(({ from }) => /^agent\/(state|backend|netlink\/codec)\//.test(from))
    expect(pure.filter(({ to }) => !to.endsWith('.ts')).map(print)).toEqual([])
  })

  it('have each library behind one file', () => {
    const users = new Map<string, Set<string>>()
    for (const { from, to } of imports)
      if (!isOurs(to) && !to.startsWith('node:')) users.set(to, (users.get(to) ?? new Set()).add(from))
    const several = Array.from(users).filter(([, from]) => from.size > 1)
    expect(several.map(([library, from]) => `${library}: ${Array.from(from).join(', ')}`)).toEqual([])
    expect(Array.from(users.keys()).filter(library => !declared.includes(library))).toEqual([])
  })

  it('use each library that is declared', () => {
    const used = new Set([...imports, ...testImports].map(({ to }) => to))
    expect(declared.filter(library => !used.has(library))).toEqual([])
  })

  it('use each function and constant that is exported', () => {
    const users = [...files, ...tests].map(file => ({ file, text: readSource(file) }))
    const unused = files.flatMap(file =>
      exportsOf(readSource(file)).filter(name => !isUsed(name, file, users)),
    )
    expect(unused).toEqual([])
  })

  it('go round in no circle, types included', () => {
    expect(circles(ours)).toEqual([])
  })

  it('throw errors of their own that are expected, or known not to be', () => {
    const classes = files.flatMap(file => [...readSource(file).matchAll(/class (\w+) extends (\w*Error)\b/g)])
    const unexpected = classes
      .filter(([, , base]) => base !== 'ExpectedError' && base !== 'DataError')
      .map(([, name]) => name)
    expect(unexpected.sort()).toEqual(['ExpectedError', 'NetlinkDecodeError'])
  })

  it('export by name, and only what they hold themselves', () => {
    const barrel = /^export\s+(\*|\{[^}]*\}\s*from)/m
    const offenders = files.filter(
      file => /^export\s+default\b/m.test(readSource(file)) || barrel.test(readSource(file)),
    )
    expect(offenders).toEqual([])
  })
})

describe('what reads the imports', () => {
  const read = (source: string) =>
    parseImports('agent/state/x.ts', source).map(({ to, typeOnly }) => `${to} ${typeOnly}`)

  it('finds them in every form', () => {
    expect(read("import { a } from './a.ts'")).toEqual(['agent/state/a.ts false'])
    expect(read("import {\n  type A,\n  b,\n} from '../b.ts'")).toEqual(['agent/b.ts false'])
    expect(read("import * as c from 'node:fs'")).toEqual(['node:fs false'])
    expect(read("import d from 'pino'\nimport 'e'")).toEqual(['pino false', 'e false'])
    expect(read("export { f } from './f.ts'")).toEqual(['agent/state/f.ts false'])
    expect(read("const g = await import('@scope/g/deep.js')")).toEqual(['@scope/g false'])
  })

  it('tells those that are gone once compiled', () => {
    expect(read("import type { A } from './a.ts'")).toEqual(['agent/state/a.ts true'])
    expect(read("import { type A, type B } from './a.ts'")).toEqual(['agent/state/a.ts true'])
  })

  it('takes neither comments nor code for one', () => {
    expect(read("// import { a } from './a.ts'\n/* import 'b' */")).toEqual([])
    expect(read('export function f(a = 1) {\n  return "from \'here\'"\n}')).toEqual([])
  })

  it('finds circles', () => {
    const edge = (from: string, to: string): Import => ({ from, to, typeOnly: false })
    expect(circles([edge('a', 'b'), edge('b', 'c'), edge('c', 'b')])).toEqual(['b -> c -> b'])
    expect(circles([edge('a', 'b'), edge('a', 'c'), edge('b', 'c')])).toEqual([])
  })
})

/** Names of functions and constants that a file exports; types and errors are exported for those who may name them. */
function exportsOf(source: string): string[] {
  const declaration = /^export (?:async )?(?:function\*?|const) (\w+)/gm
  return [...source.matchAll(declaration)].flatMap(([, name]) => name ?? [])
}

function isUsed(name: string, file: string, users: readonly { file: string; text: string }[]): boolean {
  const word = new RegExp(`\\b${name}\\b`)
  return users.some(user => user.file !== file && word.test(user.text))
}

function allowed({ from, to, typeOnly }: Import): boolean {
  const [room, target] = [roomOf(from), roomOf(to)]
  if (seeAll.has(from) || room === target) return true
  const uses = mayUse[room] ?? []
  return [target, to].some(place => uses.includes(place) || (typeOnly && uses.includes(`types:${place}`)))
}

function roomOf(file: string): string {
  const rooms = [...Object.keys(mayUse), 'agent/'].filter(room => file.startsWith(room))
  return rooms.reduce((longest, room) => (room.length > longest.length ? room : longest), '')
}

function print({ from, to }: Import): string {
  return `${from} -> ${to}`
}

/** Depth first; each circle once, from where it was entered. */
function circles(edges: readonly Import[]): string[] {
  const next = new Map<string, string[]>()
  for (const { from, to } of edges) next.set(from, [...(next.get(from) ?? []), to])
  const found: string[] = []
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]) => {
    const at = path.indexOf(file)
    if (at >= 0) found.push([...path.slice(at), file].join(' -> '))
    if (at >= 0 || done.has(file)) return
    for (const to of next.get(file) ?? []) visit(to, [...path, file])
    done.add(file)
  }
  for (const file of next.keys()) visit(file, [])
  return found
}
