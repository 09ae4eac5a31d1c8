// Bundles the binaries into dist/: one file an entry plus chunks that load only when used (a store, a CLI command). Start-up
// time and memory are what this is for: unbundled, the same libraries cost 20 to 45 MB and 0.4 s more.
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { build } from 'esbuild'
import { requireNode } from './agent/runtime/required_node.js'

requireNode('build')

const require = createRequire(import.meta.url)
/** For packages: the agent and its CLI alone, into another folder. */
const [target = 'dist'] = process.argv.slice(2)
/** Built aside and put in place whole, so that no program starts half a build. */
const out = `${target}.${process.pid}`

const binaries = { twilld: 'agent/runtime/twilld.ts', twill: 'agent/runtime/twill.ts' }
const tools = { demo: 'test/demo/main.ts', bench: 'test/bench/main.ts', chaos: 'test/chaos/main.ts' }
/** Programs whose memory the bench measures: each holds its own code alone. */
const measured = {
  bench_kubernetes: 'test/bench/kubernetes_child.ts',
  bench_kubernetes_informer: 'test/bench/kubernetes_informer.ts',
}

/** Addons cannot be bundled: they are put beside the bundle, and what loads them is pointed there. */
const nativeAddons = {
  name: 'native-addons',
  setup(builder) {
    mkdirSync(join(out, 'native'), { recursive: true })
    for (const arch of ['x64', 'arm64']) {
      copyIfThere(`node_modules/netlink/prebuilds/linux-${arch}/node.napi.node`, `netlink-${arch}.node`)
      copyIfThere(`node_modules/@koromix/koffi-linux-${arch}/linux_${arch}/koffi.node`, `koffi-${arch}.node`)
    }
    const load = name => `nativeRequire('./native/${name}-' + process.arch + '.node')`
    builder.onLoad({ filter: /netlink[/\\]dist[/\\]raw\.js$/ }, ({ path }) => ({
      contents: patched(path, "require('node-gyp-build')(__dirname + '/..')", load('netlink')),
    }))
    builder.onResolve({ filter: /^koffi$/ }, () => ({ path: 'koffi', namespace: 'addon' }))
    builder.onLoad({ filter: /.*/, namespace: 'addon' }, () => ({
      contents: `module.exports = ${load('koffi')}`,
    }))
  },
}

/** etcd3 reads its .proto files at start: they are parsed here, once. */
const etcdProtocol = {
  name: 'etcd-protocol',
  setup(builder) {
    builder.onLoad({ filter: /etcd3[/\\]lib[/\\]connection-pool\.js$/ }, ({ path }) => {
      const protobuf = require('protobufjs')
      const proto = join(dirname(path), '..', 'proto', 'rpc.proto')
      const json = JSON.stringify(new protobuf.Root().loadSync(proto, { keepCase: true }).toJSON())
      return { contents: patched(path, /loadSync\)\([^,]+rpc\.proto`/, `fromJSON)(${json}`) }
    })
  },
}

/**
 * proto-loader describes each message in messages, for servers that tell clients of their protocol. gRPC's client reads none of
 * it: without, an etcd client loads in 0.1 s of CPU less.
 */
const noDescriptors = edited(/@grpc[/\\]proto-loader[/\\]build[/\\]src[/\\]index\.js$/, [
  [/require\("protobufjs\/ext\/descriptor"\)/, '{}'],
  [/const descriptorList = [^;]+;\s+const bufferList = [^;]+;/, 'const bufferList = [];'],
  [/const messageDescriptor = [^;]+;/, ''],
  [/messageDescriptor\.\$type\.toObject\([^)]+\)/, '{}'],
  [/const enumDescriptor = [^;]+;/, ''],
  [/enumDescriptor\.\$type\.toObject\([^)]+\)/, '{}'],
])

/**
 * What an etcd client uses of gRPC (no server, no other load balancers, no channelz service), of etcd3's policies, which wrap
 * each call, and of protobuf.js (no .proto files): 0.3 MB of code and 0.9 MB of memory less.
 */
const clientAlone = {
  name: 'client-alone',
  setup(builder) {
    builder.onLoad({ filter: /@grpc[/\\]grpc-js[/\\]build[/\\]src[/\\]index\.js$/ }, () => ({
      contents: `
        for (const part of [require('./resolver-dns'), require('./resolver-ip'), require('./load-balancer-pick-first')]) part.setup()
        exports.CallCredentials = require('./call-credentials').CallCredentials
        exports.Channel = require('./channel').ChannelImplementation
        exports.ChannelCredentials = exports.credentials = require('./channel-credentials').ChannelCredentials
        exports.Metadata = require('./metadata').Metadata
        exports.connectivityState = require('./connectivity-state').ConnectivityState
        exports.loadPackageDefinition = require('./make-client').loadPackageDefinition
        exports.logVerbosity = require('./constants').LogVerbosity
        exports.setLogVerbosity = require('./logging').setLoggerVerbosity`,
    }))
    builder.onLoad({ filter: /cockatiel[/\\]dist[/\\]index\.js$/ }, () => ({
      contents: "const { NoopPolicy } = require('./NoopPolicy'); exports.noop = new NoopPolicy()",
    }))
    builder.onResolve({ filter: /^protobufjs$/ }, () => ({ path: require.resolve('protobufjs/light') }))
    builder.onLoad({ filter: /proto-loader[/\\]build[/\\]src[/\\]util\.js$/ }, () => ({
      contents: 'exports.addCommonProtos = () => {}',
    }))
  },
}

/** node-fetch (of the Kubernetes client) takes Node's own URL where there is one: 370 KB less, and no deprecated `punycode`. */
const nodeUrl = {
  name: 'node-url',
  setup(builder) {
    builder.onResolve({ filter: /^whatwg-url$/ }, () => ({ path: 'whatwg-url', namespace: 'node-url' }))
    builder.onLoad({ filter: /.*/, namespace: 'node-url' }, () => ({ contents: 'module.exports = { URL }' }))
  },
}

/**
 * Of the Kubernetes client only KubeConfig and YAML are used. Nothing in its package.json says that its files only declare
 * things, so esbuild would keep all of them; its YAML knows each type of the API, which a kubeconfig has none of; and few
 * nodes reach their API server by a SOCKS proxy.
 */
const leanKubernetesClient = {
  name: 'lean-kubernetes-client',
  setup(builder) {
    builder.onResolve({ filter: /^\.\.?\/.*\.js$/ }, ({ importer, path }) =>
      /client-node[/\\]dist[/\\]/.test(importer)
        ? { path: join(dirname(importer), path), sideEffects: false }
        : undefined,
    )
    builder.onLoad({ filter: /client-node[/\\]dist[/\\]config\.js$/ }, ({ path }) => ({
      contents: replaced(
        patched(path, "import { SocksProxyAgent } from 'socks-proxy-agent';", ''),
        path,
        'new SocksProxyAgent(',
        "new (require('socks-proxy-agent').SocksProxyAgent)(",
      ),
    }))
    builder.onLoad({ filter: /client-node[/\\]dist[/\\]yaml\.js$/ }, ({ path }) => ({
      contents: patched(
        path,
        "import { ObjectSerializer } from './serializer.js'",
        'const ObjectSerializer = { deserialize: value => value }',
      ),
    }))
  },
}

/**
 * `import` of node:http reads all that it exports, WebSocket for one, and so loads the whole of Node's fetch: 7 MB. That of
 * node:tls reads the certificates that Node trusts: 1 MB. `require` reads nothing.
 */
const requiredHttp = {
  name: 'required-http',
  setup(builder) {
    builder.onResolve({ filter: /^(node:)?(http|tls)$/ }, ({ kind, path }) =>
      kind === 'require-call'
        ? { path: `node:${path.replace('node:', '')}`, external: true }
        : { path: path.replace('node:', ''), namespace: 'required' },
    )
    builder.onLoad({ filter: /.*/, namespace: 'required' }, ({ path }) => ({
      contents: `module.exports = require('node:${path}')`,
    }))
  },
}

/** commander loads what it starts executables of subcommands with; ours are none: `twill --help` loads in 10 ms of CPU less. */
const noSubprocesses = edited(/commander[/\\]lib[/\\]command\.js$/, [
  [/require\('node:(child_process|fs|path)'\)/g, '{}'],
  [/const process = require\('node:process'\);/, ''],
])

function copyIfThere(from, to) {
  if (existsSync(from)) cpSync(from, join(out, 'native', to))
}

/** A plugin that replaces pieces of one file. */
function edited(filter, pieces) {
  const contents = path =>
    pieces.reduce((text, [from, to]) => replaced(text, path, from, to), readFileSync(path, 'utf8'))
  return {
    name: `${filter}`,
    setup: builder => builder.onLoad({ filter }, ({ path }) => ({ contents: contents(path) })),
  }
}

function patched(path, from, to) {
  return replaced(readFileSync(path, 'utf8'), path, from, to)
}

function replaced(text, path, from, to) {
  if (text.replace(from, '') === text)
    throw new Error(`${path} no longer contains ${from}: a new version needs a new patch here`)
  return text.replace(from, () => to)
}

const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
const forTests = target === 'dist'
process.on('exit', () => rmSync(out, { recursive: true, force: true }))
const bundle = (entries, more) => ({
  entryPoints: Object.fromEntries(Object.entries(entries).filter(([, source]) => existsSync(source))),
  outdir: out,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  define: { TWILL_VERSION: JSON.stringify(version) },
  banner: {
    js: [
      "import { createRequire as __createRequire } from 'node:module'",
      'const require = __createRequire(import.meta.url), nativeRequire = require',
      'const __filename = import.meta.filename, __dirname = import.meta.dirname',
    ].join('\n'),
  },
  plugins: [
    nativeAddons,
    etcdProtocol,
    noDescriptors,
    clientAlone,
    nodeUrl,
    leanKubernetesClient,
    requiredHttp,
    noSubprocesses,
  ],
  logLevel: 'warning',
  ...more,
})
const { metafile } = await build(
  bundle(forTests ? { ...binaries, ...tools } : binaries, { splitting: true, metafile: true }),
)
if (forTests) await build(bundle(measured))
// What `twill install` writes.
mkdirSync(join(out, 'systemd'))
for (const name of ['twilld.service', 'docker.conf'])
  cpSync(join('manifests/systemd', name), join(out, 'systemd', name))
// What packages are made by: which chunks belong to a binary, and whose code is in them.
writeFileSync(
  join(out, 'meta.json'),
  JSON.stringify(metafile.outputs).replaceAll(`${relative('.', out)}/`, ''),
)
for (const name of Object.keys(binaries))
  if (existsSync(join(out, `${name}.js`))) chmodSync(join(out, `${name}.js`), 0o755)
const old = `${out}.old`
if (existsSync(target)) renameSync(target, old)
renameSync(out, target)
rmSync(old, { recursive: true, force: true })
