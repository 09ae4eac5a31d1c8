import { spawnSync } from 'node:child_process'
import { dirname } from 'node:path'
import { describe, expect, it } from 'vitest'
import { collectionFlags } from '../../../agent/runtime/memory.ts'
import { agentV8Flags } from '../../../agent/runtime/v8_flags.ts'

/** As an operator's shell starts it: the kernel reads the first line of the file. */
function start(file: string, words: readonly string[], env: Record<string, string> = {}) {
  const PATH = `${dirname(process.execPath)}:${process.env.PATH}`
  const { status, stdout, stderr } = spawnSync(file, words, { env: { PATH, ...env }, encoding: 'utf8' })
  return { status, output: stdout + stderr }
}

describe('dist/twilld.js and dist/twill.js', () => {
  it.each([
    '--no-such-flag',
    '--require=/no/such/file.js',
    '--interrupt-budget=1000000',
    '--max-old-space-size=1',
    '--throw-deprecation --no-addons',
  ])("start whatever the host's NODE_OPTIONS say (%s)", NODE_OPTIONS => {
    for (const file of ['./dist/twilld.js', './dist/twill.js'])
      expect(start(file, ['--version'], { NODE_OPTIONS }), file).toEqual({
        status: 0,
        output: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
      })
  })

  it('say nothing about a V8 flag that this release does not know', () => {
    expect(start('./dist/twilld.js', ['--version']).output).toMatch(/^[\d.]+\n$/)
  })

  it('say in one line that Node.js is too old, before anything else', () => {
    const old = `data:text/javascript,${encodeURIComponent(
      "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.8' } })",
    )}`
    for (const name of ['twilld', 'twill']) {
      const { status, output } = start(process.execPath, [
        `--import=${old}`,
        `dist/${name}.js`,
        '--no-such-flag',
      ])
      expect(output).toMatch(
        new RegExp(`^${name}: needs Node\\.js 20\\.19 or later, this is 18\\.20\\.8 .*\n$`),
      )
      expect(status).toBe(1)
    }
  })
})

it('the bundle does not load what Node.js has for fetch, which nothing here calls', () => {
  const list = `data:text/javascript,${encodeURIComponent(
    "process.on('exit', () => process.stderr.write(process.moduleLoadList.join()))",
  )}`
  const words = [
    `--import=${list}`,
    'dist/twill.js',
    'map',
    '--etcd-endpoints=http://127.0.0.1:1',
    '--local-socket=',
  ]
  const { output } = start(process.execPath, words)
  expect(output).toContain('NativeModule http2')
  expect(output).not.toContain('undici')
})

it('every V8 flag that the agent sets is known by this release', () => {
  const { stdout } = spawnSync(process.execPath, ['--v8-options'], { env: {}, encoding: 'utf8' })
  const known = [...stdout.matchAll(/^ +--([\w-]+) \(/gm)].map(([, name]) => name)
  const names = [...agentV8Flags, ...collectionFlags].map(flag => flag.replace(/^--(no-)?(.*?)(=.*)?$/, '$2'))
  expect(known).toEqual(expect.arrayContaining(names))
})
