import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { serviceSettings, undoNotes } from '../../../../agent/cli/install/undo_notes.ts'
import type { Env } from '../../../../agent/config/flags.ts'

const directory = mkdtempSync(join(tmpdir(), "twill's notes "))
afterAll(() => rmSync(directory, { recursive: true }))

const nothing = { forwarding: false, docker: false }
const end = 'The lease of this host expires within a day, unless it is reserved'
const notes = (flags: readonly string[], env: Env = {}, changed = nothing) =>
  undoNotes(serviceSettings(flags, env), changed)

it('an undo names the folder of etcd that is left, with a command that a shell takes', () => {
  const quoted = `'${directory.replace("'", `'\\''`)}'`
  const left = `Left: ${directory} with the leases of the network. When no host needs it any more: rm -r ${quoted}`
  expect(notes(['--embedded-etcd', `--embedded-etcd-dir=${directory}`])).toEqual([left, end])
  const env = { FLANNELD_EMBEDDED_ETCD: 'true', FLANNELD_EMBEDDED_ETCD_DIR: directory }
  expect(notes([], env)).toEqual([left, end])
})

it('an undo says that etcd counts this member only where it has not left', () => {
  const counted = expect.stringContaining('etcd still counts this host as a member')
  const member = ['--join=/etc/twill/join-token', '--member=true']
  expect(notes([...member, `--embedded-etcd-dir=${directory}`])).toContainEqual(counted)
  expect(notes([...member, `--embedded-etcd-dir=${directory}/gone`])).toEqual([end])
  expect(notes(['--member=false', `--embedded-etcd-dir=${directory}`])).not.toContainEqual(counted)
})

it('an undo with Kubernetes promises no end of the lease', () => {
  const lasts = 'The lease of this host stays until its Node is deleted: kubectl delete node'
  const gone = `--embedded-etcd-dir=${directory}/gone`
  expect(notes(['--kube-subnet-mgr=true', gone])).toEqual([lasts])
  expect(notes([gone], { FLANNELD_KUBE_SUBNET_MGR: 'true' })).toEqual([lasts])
})

it('an undo reads the flags of another version as far as it knows them', () => {
  const gone = `--embedded-etcd-dir=${directory}/gone`
  const changed = { forwarding: true, docker: true }
  expect(notes(['--no-such-flag=1', gone], {}, changed)).toEqual([
    'Left: forwarding stays on until the next boot; other programs may rely on it',
    'Docker leaves the overlay at its next start: systemctl restart docker',
    end,
  ])
})
