import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

/** A kubectl that writes down its words; pods run on n1 and n2. */
const kubectl = `#!/bin/sh
printf '%s|' "$@" >>"$CALLS"; echo >>"$CALLS"
case "$*" in
  *'get pods'*spec.nodeName=n2*) printf twill-b ;;
  *'get pods'*spec.nodeName=*) exit 1 ;;
  *'get pods'*) printf twill-a ;;
esac
`

describe('kubectl twill', () => {
  const directory = mkdtempSync(join(tmpdir(), 'twill-kubectl-'))
  const calls = join(directory, 'calls')

  const run = (...words: string[]) => {
    rmSync(calls, { force: true })
    const env = { ...process.env, PATH: `${directory}:${process.env.PATH}`, CALLS: calls }
    const { status, stderr } = spawnSync('manifests/kubectl/kubectl-twill', words, { env, encoding: 'utf8' })
    return { status, stderr, last: readFileSync(calls, 'utf8').trim().split('\n').at(-1) }
  }

  beforeAll(() => {
    writeFileSync(join(directory, 'kubectl'), kubectl)
    chmodSync(join(directory, 'kubectl'), 0o755)
    writeFileSync(calls, '')
  })
  afterAll(() => rmSync(directory, { recursive: true }))

  it('runs twill in the pod of the node that is named, with its words as they are', () => {
    expect(run('--node', 'n2', '--context=lab', 'trace', '10.244.1.7', 'a b', '-o', 'json')).toMatchObject({
      status: 0,
      last: '--context=lab|--namespace=kube-flannel|exec|twill-b|--container=twilld|--|twill|trace|10.244.1.7|a b|-o|json|',
    })
    expect(run('-n', 'net', 'map').last).toBe('--namespace=net|exec|twill-a|--container=twilld|--|twill|map|')
  })

  it('says in one line that no pod runs there', () => {
    const { status, stderr } = run('--node=n3', 'status')
    expect(status).toBe(2)
    expect(stderr).toBe(
      'kubectl twill: no pod of app=twill runs in namespace kube-flannel on node n3: name them by -n, -l and --node\n',
    )
  })
})
