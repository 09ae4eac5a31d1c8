// Builds the agent and its CLI into a folder: the code that they load, the native parts of one architecture, and an SBOM (CycloneDX)
// that lists the packages in it. The image is built with `node manifests/package/bundle.mjs FOLDER x64|arm64`.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const readJson = file => JSON.parse(readFileSync(file, 'utf8'))

/** `arch`: as Node.js names it, `x64` or `arm64`. */
export function makeBundle(folder, arch) {
  const built = mkdtempSync(join(tmpdir(), 'twill-bundle-'))
  execFileSync(process.execPath, ['esbuild.config.mjs', join(built, 'dist')], { stdio: 'inherit' })
  const dist = join(built, 'dist')
  const outputs = readJson(join(dist, 'meta.json'))
  mkdirSync(join(folder, 'native'), { recursive: true })
  for (const file of Object.keys(outputs)) cpSync(join(dist, file), join(folder, file))
  cpSync(join(dist, 'systemd'), join(folder, 'systemd'), { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}\n')
  layNativeParts(dist, folder, arch)
  rmSync(built, { recursive: true })
  const inputs = Object.values(outputs).flatMap(({ inputs }) => Object.keys(inputs))
  const packages = inputs.flatMap(path => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? [])
  writeSbom(
    join(folder, 'sbom.cdx.json'),
    new Set([...packages, 'netlink', 'koffi', `@koromix/koffi-linux-${arch}`]),
  )
}

/** koffi's native part. Where it is for another architecture it is not installed: fetches it, and checks it against the lock. */
function layNativeParts(dist, folder, arch) {
  const netlink = `native/netlink-${arch}.node`
  cpSync(join(dist, netlink), join(folder, netlink))
  chmodSync(join(folder, netlink), 0o644)
  const koffi = `native/koffi-${arch}.node`
  if (existsSync(join(dist, koffi))) cpSync(join(dist, koffi), join(folder, koffi))
  else {
    const name = `@koromix/koffi-linux-${arch}`
    const { version, integrity } = readJson('package-lock.json').packages[`node_modules/${name}`]
    const temporary = mkdtempSync(join(tmpdir(), 'twill-koffi-'))
    execFileSync('npm', ['pack', '--silent', `--pack-destination=${temporary}`, `${name}@${version}`])
    const [archive] = readdirSync(temporary).map(file => join(temporary, file))
    const hash = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`
    if (hash !== integrity) throw new Error(`${name}@${version} is not the package of package-lock.json`)
    const file = `package/linux_${arch}/koffi.node`
    execFileSync('tar', ['-xzf', archive, '-C', temporary, file])
    cpSync(join(temporary, file), join(folder, koffi))
    rmSync(temporary, { recursive: true })
  }
}

/** npm's own SBOM, reduced to the packages in the bundle, and identical at each build. */
function writeSbom(file, packages) {
  const words = ['sbom', '--sbom-format=cyclonedx', '--package-lock-only', '--omit=dev']
  const { serialNumber: _, ...sbom } = JSON.parse(execFileSync('npm', words, { maxBuffer: 1 << 26 }))
  const components = sbom.components.filter(({ name, group }) =>
    packages.has(group ? `${group}/${name}` : name),
  )
  const refs = new Set([sbom.metadata.component['bom-ref'], ...components.map(one => one['bom-ref'])])
  const dependencies = sbom.dependencies
    .filter(({ ref }) => refs.has(ref))
    .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter(one => refs.has(one)) }))
  const { component, lifecycles } = sbom.metadata
  const metadata = {
    timestamp: sourceDate().toISOString(),
    lifecycles,
    component: { ...component, name: 'twill' },
  }
  writeFileSync(file, `${JSON.stringify({ ...sbom, metadata, components, dependencies }, null, 1)}\n`)
}

/** SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/), else the time of the last commit. */
export function sourceDate() {
  const { SOURCE_DATE_EPOCH } = process.env
  const seconds =
    SOURCE_DATE_EPOCH ?? execFileSync('git', ['log', '-1', '--format=%ct'], { encoding: 'utf8' })
  return new Date(Number(seconds) * 1000)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) makeBundle(process.argv[2], process.argv[3])
