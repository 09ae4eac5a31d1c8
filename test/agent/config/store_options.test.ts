import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { etcdOfToken, parseStoreOptions, storeWarnings } from '../../../agent/config/store_options.ts'
import { ConfigError } from '../../../agent/config/values.ts'
import { printJoinToken } from '../../../lease/join_token.ts'
import { runSync } from '../../support/exec.ts'

describe('the store options', () => {
  const etcd = (line: string) => parseStoreOptions(line.split(' '), {}).store

  it('take endpoints with and without scheme and port', () => {
    expect(etcd('--etcd-endpoints=10.0.0.1,https://[fd00::1]:443,http://db/,')).toMatchObject({
      endpoints: ['http://10.0.0.1:2379', 'https://[fd00::1]:443', 'http://db:2379'],
    })
  })

  it('honour a CA alone', () => {
    expect(etcd('--etcd-cafile=/ca --etcd-endpoints=db:2379')).toMatchObject({
      caFile: '/ca',
      endpoints: ['https://db:2379'],
    })
    expect(storeWarnings(etcd('--etcd-cafile=/ca --etcd-endpoints=http://db:2379'))).toContain(
      'Certificates are given but the connection to http://db:2379 is not encrypted: write https:// there',
    )
  })

  it('warn of a password that other hosts could read on its way', () => {
    const login = '--etcd-username=u --etcd-password=s3cret'
    const plain = '--etcd-endpoints=http://db,https://safe,http://127.0.0.1,http://[::1],localhost'
    expect(storeWarnings(etcd(`${login} ${plain}`))).toEqual([
      "The password of etcd user 'u' goes to http://db:2379 unencrypted: use https",
    ])
    expect(storeWarnings(etcd('--etcd-endpoints=http://db'))).toEqual([])
  })

  it('join the prefix as flanneld does', () => {
    expect(etcd('--etcd-prefix=//a/b/')).toMatchObject({ prefix: '/a/b' })
    expect(etcd('--etcd-prefix=a/b')).toMatchObject({ prefix: 'a/b' })
  })

  it('take a proxy only where one is asked for', () => {
    expect(etcd('')).toMatchObject({ proxy: undefined })
    expect(etcd('--etcd-proxy=http://p:3128')).toMatchObject({ proxy: 'http://p:3128/' })
    for (const text of ['p:3128', 'https://u:s3cret@p', 'socks5://p', 'http://'])
      expect(() => etcd(`--etcd-proxy=${text}`)).toThrow(
        /^--etcd-proxy is '((?!s3cret).)*': it must look like/,
      )
  })

  describe('with a join token', () => {
    const token = printJoinToken({
      endpoints: ['https://10.0.0.1:2379', 'https://[fd00::1]:2479'],
      prefix: '/x',
      secret: Buffer.alloc(16, 1),
    })
    const directory = mkdtempSync(join(tmpdir(), 'twill-'))
    const file = join(directory, 'token')
    writeFileSync(file, `${token}\n`)
    afterAll(() => rmSync(directory, { recursive: true }))

    it.each([token, file])('take all from it: %#', value => {
      for (const options of [etcd(`--join=${value}`), etcdOfToken(value)])
        expect(options).toMatchObject({
          endpoints: ['https://10.0.0.1:2379', 'https://[fd00::1]:2479'],
          prefix: '/x',
          joinSecret: Buffer.alloc(16, 1),
        })
    })

    it('refuse one beside the flags whose place it takes, and name no token', () => {
      for (const more of [
        '--etcd-endpoints=http://h',
        '--etcd-prefix=/y',
        '--etcd-cafile=/c',
        '--kube-subnet-mgr',
      ])
        expect(() => etcd(`--join=${token} ${more}`)).toThrow(/^Both --join and --[a-z-]+ are given/)
      for (const bad of [token.slice(0, -3), `x${token}`])
        expect(() => etcd(`--join=${bad}`)).toThrow(/^--join: ((?!twill1_\w).)*$/)
      writeFileSync(join(directory, 'bad'), token.slice(0, -3))
      expect(() => etcd(`--join=${directory}/bad`)).toThrow(
        /^--join: \/.*\/bad: the join token was not copied whole/,
      )
    })
  })

  it('are parsed alone, from the same flags and variables, and never name the cache', () => {
    const { store } = parseStoreOptions(['-etcd-prefix', '/x'], { FLANNELD_ETCD_ENDPOINTS: 'http://h:1' })
    expect(store).toMatchObject({ endpoints: ['http://h:1'], prefix: '/x', cacheFile: undefined })
    expect(parseStoreOptions(['--kube-subnet-mgr'], { NODE_NAME: 'n1' }).store).toMatchObject({
      kind: 'kubernetes',
      nodeName: 'n1',
    })
  })

  describe('with a password file', () => {
    const directory = mkdtempSync(join(tmpdir(), 'twill-'))
    const file = join(directory, 'password')
    afterAll(() => rmSync(directory, { recursive: true }))
    const read = (text: string, more = '') => {
      writeFileSync(file, text)
      return etcd(`--etcd-username=u --etcd-password-file=${file}${more}`)
    }

    it('take its first line', () => {
      for (const text of ['s3cret', 's3cret\n', 's3cret\r\n', 's3cret\nmore\n'])
        expect(read(text)).toMatchObject({ username: 'u', password: 's3cret' })
    })

    it('refuse what is no password, and never print it', () => {
      expect(() => read('\nx')).toThrow(`--etcd-password-file: the first line of ${file} is empty`)
      expect(() => read('x'.repeat(5000))).toThrow(
        `cannot read ${file}: it has 5000 bytes, more than 4096; give a file that holds the secret alone`,
      )
      expect(() => read('x', ' --etcd-password=y')).toThrow('leave out --etcd-password')
      expect(() => etcd('--etcd-password-file=/nowhere')).toThrow(ConfigError)
      expect(() => etcd('--etcd-password-file=/dev/zero')).toThrow(ConfigError)
    })

    it.each(['etcd-password-file', 'join'])('refuse a pipe, a directory and a device at once: --%s', flag => {
      const pipe = join(directory, `pipe-${flag}`)
      runSync(['mkfifo', pipe])
      for (const path of [pipe, directory, '/dev/null'])
        expect(() => etcd(`--${flag}=${path}`)).toThrow(
          `--${flag}: cannot read ${path}: it is no regular file; give a file that holds the secret alone`,
        )
    })
  })
})
