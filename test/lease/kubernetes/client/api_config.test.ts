import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestOptions, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { openApiConfig } from '../../../../lease/kubernetes/client/api_config.ts'
import { ApiConfigError } from '../../../../lease/kubernetes/client/kubeconfig.ts'
import { makeTls } from '../../../support/api_server_tls.ts'
import { runSync } from '../../../support/exec.ts'

/** What a kubeconfig makes of a request; the files are as people have them. */

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'twill-kubeconfig-'))
})

afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true, force: true })
})

function write(name: string, text: string): string {
  writeFileSync(join(folder, name), text, { mode: 0o755 })
  return join(folder, name)
}

/** Two clusters and two users, of which `user` is the current one's. */
function kubeconfig(user: string, server = 'https://10.0.0.1:6443', cluster = ''): string {
  return write(
    'kubeconfig',
    `apiVersion: v1
kind: Config
current-context: here
clusters:
- name: elsewhere
  cluster: {server: "https://192.0.2.1:6443"}
- name: here
  cluster: {server: "${server}"${cluster}}
contexts:
- {name: there, context: {cluster: elsewhere, user: other}}
- {name: here, context: {cluster: here, user: me}}
users:
- name: other
  user: {token: others-secret, tokenFile: /nonexistent, token-file: /nonexistent}
- name: me
  user: ${user}
`,
  )
}

async function optionsOf(file: string): Promise<RequestOptions> {
  return await openApiConfig({ apiUrl: undefined, kubeconfigFile: file }).requestOptions()
}

async function authorizationOf(user: string): Promise<unknown> {
  const { headers, auth } = await optionsOf(kubeconfig(user))
  return Object(headers).Authorization ?? (auth ? `Basic ${auth}` : undefined)
}

const plugin = (name: string, prints: string, rest = '') =>
  write(name, `#!/bin/sh\n${rest}\ncat <<E\n${prints}\nE\n`)

describe('the credentials of a request', () => {
  it.each([
    ['a token', '{token: mine}', 'Bearer mine'],
    ['a token file beside the kubeconfig', '{tokenFile: good}', 'Bearer from-file'],
    ['a token file before the token beside it', '{token: mine, tokenFile: good}', 'Bearer from-file'],
    ['the token where its file cannot be read', '{token: mine, tokenFile: missing}', 'Bearer mine'],
    ['the token where its file is empty', '{token: mine, tokenFile: empty}', 'Bearer mine'],
    ['a user name and password', '{username: u, password: p}', 'Basic u:p'],
    [
      'a token from a plugin in PATH',
      '{exec: {apiVersion: client.authentication.k8s.io/v1, command: plugin}}',
      'Bearer plugged',
    ],
    [
      'a token from a plugin beside it',
      '{exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin}}',
      'Bearer plugged',
    ],
    ['a token before that of a plugin', '{token: mine, exec: {command: plugin}}', 'Bearer mine'],
    ['nothing where the user has nothing', '{}', undefined],
    ['nothing where a comment has a token', '{} # tokenFile: good', undefined],
    ['nothing of a key that is none', '{token-file: good}', undefined],
  ])('are %s', async (_, user, expected) => {
    write('good', 'from-file\n')
    write('empty', '\n')
    plugin(
      'plugin',
      '{"status":{"token":"plugged"}}',
      'case $KUBERNETES_EXEC_INFO in *ExecCredential*) ;; *) exit 1;; esac',
    )
    vi.stubEnv('PATH', `${folder}:${process.env.PATH}`)
    expect(await authorizationOf(user)).toBe(expected)
  })

  it('follow a token file, and outlast it', async () => {
    const file = write('token', 'first')
    const config = openApiConfig({ apiUrl: undefined, kubeconfigFile: kubeconfig('{tokenFile: token}') })
    const sent = async () => Object((await config.requestOptions()).headers).Authorization
    expect(await sent()).toBe('Bearer first')
    write('token', 'second')
    expect(await sent()).toBe('Bearer second')
    rmSync(file)
    expect(await sent()).toBe('Bearer second')
  })

  it('are never those of another user, where a URL overrides the server too', async () => {
    const kubeconfigFile = kubeconfig('{as: deputy, as-groups: [a, b]}')
    const config = openApiConfig({ apiUrl: 'https://10.9.9.9/', kubeconfigFile })
    expect(config.url).toBe('https://10.9.9.9')
    const { headers } = await config.requestOptions()
    expect(headers).toEqual({ 'Impersonate-User': 'deputy', 'Impersonate-Group': ['a', 'b'] })
  })

  it('may stand in the URL, which is printed without them', async () => {
    const file = kubeconfig('{}', 'https://u:p%40ss@10.0.0.1:6443/prefix/')
    expect(openApiConfig({ apiUrl: undefined, kubeconfigFile: file }).url).toBe(
      'https://10.0.0.1:6443/prefix',
    )
    expect((await optionsOf(file)).auth).toBe('u:p@ss')
    const shouted = kubeconfig('{}', 'HTTPS://u:s3cret@h')
    expect(openApiConfig({ apiUrl: undefined, kubeconfigFile: shouted }).url).toBe('https://h')
  })
})

describe('a file that is a pipe without a writer, or without end', () => {
  beforeEach(() => {
    runSync(['mkfifo', join(folder, 'pipe')])
  })

  it.each(['pipe', '.', '/dev/zero'])('is refused as a kubeconfig: %s', async file => {
    const path = resolve(folder, file)
    expect(() => openApiConfig({ apiUrl: undefined, kubeconfigFile: path })).toThrow(
      new ApiConfigError(`Cannot read kubeconfig ${path}: it is no regular file`),
    )
  })

  it.each([
    ['a token', '{tokenFile: FILE}', '', 'Cannot read the token file FILE: it is no regular file'],
    ['a certificate', '{client-certificate: FILE}', '', 'Cannot use FILE of user'],
    ['a key', '{client-key: FILE}', '', 'Cannot use FILE of user'],
    ['an authority', '{}', ', certificate-authority: "FILE"', 'Cannot use FILE of user'],
  ])('is refused as %s', async (_, user, cluster, message) => {
    for (const file of [join(folder, 'pipe'), folder, '/dev/zero']) {
      const named = (text: string) => text.replace('FILE', file)
      const refused = optionsOf(kubeconfig(named(user), undefined, named(cluster)))
      await expect(refused).rejects.toThrow(named(message))
      await expect(refused).rejects.toThrow('it is no regular file')
    }
  })

  it('does not replace a token that was read', async () => {
    const file = write('token', 'first')
    const config = openApiConfig({ apiUrl: undefined, kubeconfigFile: kubeconfig('{tokenFile: token}') })
    await config.requestOptions()
    rmSync(file)
    runSync(['mkfifo', file])
    expect(Object((await config.requestOptions()).headers).Authorization).toBe('Bearer first')
  })
})

describe('the certificate of the API server', () => {
  const tls = makeTls()
  const server = createServer({ key: tls.keyPem, cert: tls.certPem }, (_, response) => response.end())

  beforeAll(async () => {
    await once(server.listen(0, '127.0.0.1'), 'listening')
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })

  async function askWith(host: string, cluster: string): Promise<number | undefined> {
    const url = `https://${host}:${(server.address() as AddressInfo).port}`
    const ca = Buffer.from(tls.certPem).toString('base64')
    const kubeconfigFile = kubeconfig('{}', url, `, certificate-authority-data: ${ca}${cluster}`)
    const config = openApiConfig({ apiUrl: undefined, kubeconfigFile })
    try {
      const [answer] = await once(request(url, await config.requestOptions()).end(), 'response')
      return answer.resume().statusCode
    } finally {
      config.close()
    }
  }

  it.each([
    ['127.0.0.1', ''],
    ['localhost', ''],
    ['127.0.0.1', ', tls-server-name: localhost'],
    ['127.0.0.1', ', tls-server-name: 127.0.0.1'],
    ['localhost', ', tls-server-name: 127.0.0.1'],
  ])('bears what is asked for: %s%s', async (host, cluster) => {
    expect(await askWith(host, cluster)).toBe(200)
  })

  it.each(['127.0.0.2', '::1', 'elsewhere'])('is refused where it does not bear %s', async name => {
    const code = 'ERR_TLS_CERT_ALTNAME_INVALID'
    await expect(askWith('127.0.0.1', `, tls-server-name: "${name}"`)).rejects.toMatchObject({ code })
  })
})

describe('a kubeconfig that cannot be used', () => {
  it.each([
    ['is no YAML', 'users:\n- name: a\n  token: s3cret: x\n', /it is no YAML, line 3: bad indentation/],
    ['is empty', '', /it is no YAML/],
    ['is another object', 'apiVersion: v1\nkind: Node\nmetadata: {name: s3cret}', /no object of kind Config/],
    ['has no current context', 'users: []', /current-context is not set/],
    [
      'has a context that is not there',
      'current-context: x',
      /current-context names the context 'x'.*none of that name/,
    ],
    [
      'names a user that is not there',
      'current-context: x\ncontexts: [{name: x, context: {cluster: c, user: me}}]\nclusters: [{name: c, cluster: {server: "https://h"}}]\nusers: [{name: I, user: {token: s3cret}}]',
      /context 'x' names the user 'me', and users holds none/,
    ],
    [
      'has two of that name',
      'current-context: x\ncontexts: [{name: x, context: {cluster: c, user: I}}]\nclusters: [{name: c, cluster: {server: "https://h"}}]\nusers: [{name: I, user: {token: s3cret}}, {name: I}]',
      /users holds 'I' 2 times/,
    ],
    [
      'has a number for a token',
      'current-context: x\ncontexts: [{name: x, context: {cluster: c, user: I}}]\nclusters: [{name: c, cluster: {server: "https://h"}}]\nusers: [{name: I, user: {token: 31337}}]',
      /token of its user is a number: put quotes around it/,
    ],
    [
      'has token and password',
      'current-context: x\ncontexts: [{name: x, context: {cluster: c, user: I}}]\nclusters: [{name: c, cluster: {server: "https://h"}}]\nusers: [{name: I, user: {token: s3cret, username: u, password: s3cret}}]',
      /both a token and a username/,
    ],
    [
      'has a server that is no URL',
      'current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: "ftp://u:s3cret@h"}}]',
      /Cannot use 'ftp:\/\/h' as URL/,
    ],
    [
      'has a password with a slash',
      'current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: "https://u:31337/s3cret@h"}}]',
      /Cannot use 'https:\/\/h' as URL/,
    ],
    [
      'has a proxy whose password has a slash',
      'current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: "https://h", proxy-url: "http://u:31337/s3cret@p"}}]',
      /Cannot use the proxy of the kubeconfig/,
    ],
    [
      'has a password that is not percent-encoded',
      'current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: "HTTPS://u:s3cret%zz@h"}}]',
      /password in front of 'https:\/\/h': write a percent sign in them as %25/,
    ],
    [
      'has a user that contains itself',
      'current-context: x\ncontexts: [{name: x, context: {cluster: c, user: I}}]\nclusters: [{name: c, cluster: {server: "https://h"}}]\nusers: [{name: I, user: &me {token: s3cret, extensions: *me}}]',
      /the user of its current context contains itself: write out/,
    ],
  ])('and %s is refused by name, without a secret', (_, text, message) => {
    const file = write('kubeconfig', text)
    let thrown: unknown
    try {
      openApiConfig({ apiUrl: undefined, kubeconfigFile: file })
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(ApiConfigError)
    const { message: said, stack, cause } = thrown as Error
    expect(said).toMatch(message)
    expect(`${said} ${stack} ${String(cause)}`).not.toMatch(/s3cret|31337/)
  })

  it.each([
    [
      'is not installed',
      '{exec: {command: aws-iam-authenticator}}',
      /user 'me' of kubeconfig .*: there is no program 'aws-iam-authenticator', which its exec entry names/,
    ],
    ['prints no JSON', '{exec: {command: ./garbage}}', /garbage' printed is no ExecCredential/],
    ['prints other JSON', '{exec: {command: ./other}}', /other' printed is no ExecCredential/],
    ['fails', '{exec: {command: ./failing}}', /failing', which its exec entry names, failed: no login/],
  ])('as its plugin %s is said at each try', async (_, user, message) => {
    plugin('garbage', 's3cret')
    plugin('other', '{"token":"s3cret"}')
    plugin('failing', '', 'echo no login at https://u:s3cret@h >&2; exit 3')
    const refused = await optionsOf(kubeconfig(user)).catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(ApiConfigError)
    expect((refused as Error).message).toMatch(message)
    expect((refused as Error).message).not.toContain('s3cret')
  })
})

describe('what an operator should mend', () => {
  it.each([
    ['nothing', '{token: s3cret}', 'https://h', '', []],
    ['nothing where no credentials go over plain http', '{}', 'http://127.0.0.1:8001', '', []],
    [
      'TLS that is not verified',
      '{}',
      'https://h',
      ', insecure-skip-tls-verify: true',
      [/Any server can pose .* https:\/\/h: insecure-skip-tls-verify/],
    ],
    [
      'a token over plain http',
      '{token: s3cret}',
      'http://h',
      '',
      [/user 'me' .* go to http:\/\/h unencrypted/],
    ],
    ['a password over plain http', '{username: u, password: s3cret}', 'http://h', '', [/unencrypted/]],
    [
      'a key that has no effect',
      '{token-file: s3cret}',
      'https://h',
      '',
      [/Key 'token-file' of user 'me' .* has no effect/],
    ],
  ])('is %s', (_, user, server, more, expected) => {
    const { warnings } = openApiConfig({ apiUrl: undefined, kubeconfigFile: kubeconfig(user, server, more) })
    expect(warnings).toHaveLength(expected.length)
    for (const [i, pattern] of expected.entries()) expect(warnings[i]).toMatch(pattern)
    expect(warnings.join()).not.toContain('s3cret')
  })
})

describe('what was sent before a 401', () => {
  const jwt = (claims: object) => `x.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.s3cret`

  it.each([
    ['{}', 'sent: no token, no client certificate'],
    ['{token: s3cret}', 'sent: a bearer token, no client certificate'],
    [
      `{token: ${jwt({ exp: 1000 })}}`,
      'sent: a bearer token that expired at 1970-01-01T00:16:40Z, no client certificate',
    ],
    ['{username: u, password: s3cret}', 'sent: a user name with a password, no client certificate'],
  ])('is told of %s as %s', async (user, words) => {
    const file = kubeconfig(user)
    const config = openApiConfig({ apiUrl: undefined, kubeconfigFile: file })
    expect(config.forget(await config.requestOptions())).toBe(`${words}, of user 'me' of kubeconfig ${file}`)
  })
})
