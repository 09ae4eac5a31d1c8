// Plain JavaScript that Node.js 12 can run: this file has to run where the others cannot. Used by the binaries, by the build
// and by test/support/setup.sh, each before anything else.

/** What package.json's `engines` says. Debian 13 has 20.19. */
const oldest = { major: 20, minor: 19 }

/**
 * Ends the process with one line where this Node.js cannot run twill.
 *
 * @param {string} program Its name, for the line.
 */
export function requireNode(program) {
  const reason = whyUnsuitable(process)
  if (reason === undefined) return
  process.stderr.write(`${program}: ${reason}\n`)
  process.exit(1)
}

/**
 * Why this Node.js cannot run twill, and what to do about it; undefined where it can.
 *
 * @param {Pick<NodeJS.Process, 'versions' | 'platform' | 'arch' | 'execPath'>} node
 * @returns {string | undefined}
 */
export function whyUnsuitable({ versions, platform, arch, execPath }) {
  if (platform !== 'linux' || (arch !== 'x64' && arch !== 'arm64'))
    return `needs Linux on x64 or arm64, this is Node.js for ${platform} on ${arch} (${execPath})`
  const [major = 0, minor = 0] = versions.node.split('.').map(Number)
  if (major < oldest.major || (major === oldest.major && minor < oldest.minor)) {
    const wanted = `${oldest.major}.${oldest.minor}`
    const install = `npm install --global node-linux-${arch}@24`
    return `needs Node.js ${wanted} or later, this is ${versions.node} (${execPath}); on Debian 12: ${install}`
  }
  if (versions.openssl === undefined)
    return `needs a Node.js with TLS, ${execPath} was built without OpenSSL: install one of nodejs.org's`
  return undefined
}
