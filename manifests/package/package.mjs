// `npm run package [-- amd64|arm64 [FOLDER]]` puts twill_VERSION_ARCH.deb and twill-VERSION-linux-ARCH.tgz (for `npm install -g`)
// into packages/. It fetches nothing for the architecture of this machine. The same sources give the same bytes.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { makeBundle, sourceDate } from './bundle.mjs'

const nodeArchs = { amd64: 'x64', arm64: 'arm64' }
const [arch = process.arch === 'arm64' ? 'arm64' : 'amd64', folder = 'packages'] = process.argv.slice(2)
if (nodeArchs[arch] === undefined) {
  console.error('usage: npm run package [-- amd64|arm64 [FOLDER]]')
  process.exit(2)
}
const source = JSON.parse(read('package.json'))
/** Debian sorts `~` before the end: a pre-release comes before its release. */
const debianVersion = source.version.replace('-', '~')
const date = sourceDate()
process.env.SOURCE_DATE_EPOCH = `${date.getTime() / 1000}`
const temporary = mkdtempSync(join(tmpdir(), 'twill-package-'))
process.on('exit', () => rmSync(temporary, { recursive: true, force: true }))

const bundle = join(temporary, 'bundle')
makeBundle(bundle, nodeArchs[arch])
mkdirSync(folder, { recursive: true })
for (const file of [makeDeb(join(temporary, 'deb')), makeTarball(join(temporary, 'npm'))])
  console.log(`${file} ${statSync(file).size} bytes`)

function makeDeb(root) {
  const lib = 'usr/lib/twill'
  cpSync(bundle, join(root, lib), { recursive: true })
  mkdirSync(join(root, 'usr/bin'))
  for (const tool of ['twilld', 'twill']) {
    const script = read(join(root, lib, `${tool}.js`))
    const first = '#!/usr/bin/env -S -u NODE_OPTIONS /usr/bin/node'
    put(root, `${lib}/${tool}.js`, script.replace(/^.*/, first), 0o755)
    symlinkSync(`../lib/twill/${tool}.js`, join(root, 'usr/bin', tool))
  }
  putText(root)
  putControl(root)
  execFileSync('find', [root, '-type', 'd', '-exec', 'chmod', '755', '{}', '+'])
  const file = `${folder}/twill_${debianVersion}_${arch}.deb`
  const words = ['--root-owner-group', '-Zxz', '--build', root, file]
  execFileSync('dpkg-deb', words, { stdio: ['ignore', 'ignore', 'inherit'] })
  return file
}

/** Adds units, manual pages, completion, the file of variables, documents. */
function putText(root) {
  for (const unit of ['twilld.service', 'twilld@.service']) {
    const text = read(`manifests/systemd/${unit}`)
    put(root, `usr/lib/systemd/system/${unit}`, text.replaceAll('/usr/local/bin/twilld', '/usr/bin/twilld'))
  }
  put(root, 'etc/default/twilld', read('manifests/package/debian/default'))
  put(root, 'usr/share/bash-completion/completions/twill', said('twill.js', 'completion', 'bash'))
  put(root, 'usr/share/zsh/vendor-completions/_twill', said('twill.js', 'completion', 'zsh'))
  put(root, 'usr/share/fish/vendor_completions.d/twill.fish', said('twill.js', 'completion', 'fish'))
  putZipped(root, 'usr/share/man/man8/twill.8.gz', said('twill.js', 'man'))
  putZipped(root, 'usr/share/man/man8/twilld.8.gz', daemonManual())
  put(root, 'usr/share/lintian/overrides/twill', read('manifests/package/debian/lintian-overrides'))
  const doc = 'usr/share/doc/twill'
  put(root, `${doc}/copyright`, read('manifests/package/debian/copyright'))
  putZipped(root, `${doc}/changelog.gz`, debianChangelog())
  putZipped(root, `${doc}/NEWS.gz`, read('CHANGELOG.md'))
  for (const file of ['README.md', 'manifests/MIGRATION.md'])
    put(root, `${doc}/${basename(file)}`, read(file))
  for (const file of ['docker.conf', 'networkd', 'NetworkManager', 'dhcpcd'])
    cpSync(`manifests/systemd/${file}`, join(root, doc, 'examples', file), { recursive: true })
}

function putControl(root) {
  const installed = files(root)
  const kilobytes = installed.reduce(
    (sum, path) => sum + Math.ceil(statSync(join(root, path)).size / 1024),
    0,
  )
  const filled = { VERSION: debianVersion, ARCH: arch, INSTALLED: kilobytes }
  const md5 = path =>
    createHash('md5')
      .update(readFileSync(join(root, path)))
      .digest('hex')
  const control = read('manifests/package/debian/control')
  put(
    root,
    'DEBIAN/control',
    control.replaceAll(/@(\w+)@/g, (_, name) => filled[name]),
  )
  put(root, 'DEBIAN/md5sums', installed.map(path => `${md5(path)}  ${path}\n`).join(''))
  put(root, 'DEBIAN/conffiles', '/etc/default/twilld\n')
  for (const script of ['postinst', 'prerm', 'postrm'])
    put(root, `DEBIAN/${script}`, read(`manifests/package/debian/${script}`), 0o755)
}

/** The tarball's package.json: no dependencies and no scripts, as the tarball contains all that it needs. */
function makeTarball(root) {
  cpSync(bundle, join(root, 'dist'), { recursive: true })
  for (const file of ['README.md', 'LICENSE', 'CHANGELOG.md']) cpSync(file, join(root, file))
  const { name, version, description, license, type, engines, bin } = source
  const own = { name, version, description, license, type, engines, bin }
  const more = { os: ['linux'], cpu: [nodeArchs[arch]], man: ['man/twill.8', 'man/twilld.8'] }
  put(root, 'package.json', `${JSON.stringify({ ...own, ...more }, null, 2)}\n`)
  put(root, 'man/twill.8', said('twill.js', 'man'))
  put(root, 'man/twilld.8', daemonManual())
  const packed = execFileSync('npm', ['pack', '--silent', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
  }).trim()
  const file = `${folder}/${packed.replace(/\.tgz$/, `-linux-${nodeArchs[arch]}.tgz`)}`
  cpSync(join(root, packed), file)
  return file
}

/** twilld(8), from what `twilld --help` prints. */
function daemonManual() {
  const roff = text =>
    text
      .replaceAll('\\', '\\e')
      .replaceAll('-', '\\-')
      .replace(/^([.'])/, '\\&$1')
  const flags = said('twilld.js', '--help').matchAll(/^ {2}(--.*)\n((?: {8}.*\n?)+)/gm)
  return [
    `.TH TWILLD 8 "" "twill ${source.version}" "System Administration"`,
    '.SH NAME\ntwilld \\- overlay network agent in the formats of flannel',
    '.SH SYNOPSIS\n.B twilld\n.RI [ FLAG ...]',
    `.SH DESCRIPTION\n${roff(source.description)}.`,
    'Each flag is also read from a variable: \\-\\-ip\\-masq from FLANNELD_IP_MASQ.',
    '.SH FLAGS',
    ...[...flags].map(
      ([, flag, text]) => `.TP\n.B ${roff(flag)}\n${roff(text.trim().replaceAll(/\s+/g, ' '))}`,
    ),
    '.SH FILES\n.TP\n.I /etc/default/twilld\nvariables of the service',
    '.SH SEE ALSO\n.BR twill (8)\n',
  ].join('\n')
}

function debianChangelog() {
  const [, maintainer] = /^Maintainer: (.*)$/m.exec(read('manifests/package/debian/control'))
  const when = date.toUTCString().replace('GMT', '+0000')
  return `twill (${debianVersion}) unstable; urgency=medium\n\n  * See NEWS.gz.\n\n -- ${maintainer}  ${when}\n`
}

/** The output of a binary of the bundle. */
function said(binary, ...words) {
  return execFileSync(process.execPath, [join(bundle, binary), ...words], { encoding: 'utf8' })
}

function files(root) {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort()
}

function read(file) {
  return readFileSync(file, 'utf8')
}

function put(root, path, content, mode = 0o644) {
  const file = join(root, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, content)
  chmodSync(file, mode)
}

function putZipped(root, path, text) {
  put(root, path, gzipSync(text, { level: 9 }))
}
