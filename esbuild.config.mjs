// Bundles the binaries into dist/: one file an entry plus chunks that load only when used (a store, a CLI command). Start-up
// time and memory are what this is for: unbundled, the same libraries cost 20 to 45 MB and 0.4 s more.
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'
import { requireNode } from './agent/runtime/required_node.js'

requireNode('build')

const require = createRequire(import.meta.url)
/** Built aside and put in place whole, so that nobody starts half a build. */
const out = `dist.${process.pid}`

const binaries = { twilld: 'agent/runtime/twilld.ts', twill: 'agent/runtime/twill.ts' }
const tools = { demo: 'test/demo/main.ts', bench: 'test/bench/main.ts', chaos: 'test/chaos/main.ts' }

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

/** node-fetch (of the Kubernetes client) takes Node's own URL where there is one: 370 KB less, and no deprecated `punycode`. */
const nodeUrl = {
  name: 'node-url',
  setup(builder) {
    builder.onResolve({ filter: /^whatwg-url$/ }, () => ({ path: 'whatwg-url', namespace: 'node-url' }))
    builder.onLoad({ filter: /.*/, namespace: 'node-url' }, () => ({ contents: 'module.exports = { URL }' }))
  },
}

function copyIfThere(from, to) {
  if (existsSync(from)) cpSync(from, join(out, 'native', to))
}

function patched(path, from, to) {
  const text = readFileSync(path, 'utf8')
  if (text.replace(from, '') === text)
    throw new Error(`${path} no longer contains ${from}: a new version needs a new patch here`)
  return text.replace(from, () => to)
}

const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
const entries = { ...binaries, ...tools }
process.on('exit', () => rmSync(out, { recursive: true, force: true }))
await build({
  entryPoints: Object.fromEntries(Object.entries(entries).filter(([, source]) => existsSync(source))),
  outdir: out,
  bundle: true,
  splitting: true,
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
  plugins: [nativeAddons, etcdProtocol, nodeUrl],
  logLevel: 'warning',
})
for (const name of Object.keys(binaries))
  if (existsSync(join(out, `${name}.js`))) chmodSync(join(out, `${name}.js`), 0o755)
const old = `${out}.old`
if (existsSync('dist')) renameSync('dist', old)
renameSync(out, 'dist')
rmSync(old, { recursive: true, force: true })
