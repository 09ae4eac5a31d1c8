import { describe, expect, it } from 'vitest'
import {
  closingActs,
  type HostState,
  type InstallWish,
  installPlan,
  paths,
} from '../../../agent/install/plan.ts'
import { printAct, type Step, undoOf } from '../../../agent/install/step.ts'
import { MARK, readRecord } from '../../../agent/install/unit_text.ts'

const wish: InstallWish = {
  flags: ['--embedded-etcd=true', '--iface=eth1'],
  docker: false,
  program: ['/usr/bin/env', '-u', 'NODE_OPTIONS', '/usr/bin/node', '/opt/twill/twilld.js'],
  unitText: '# a head\n[Service]\nExecStart=/usr/local/bin/twilld\n',
  dockerText: '[Service]\nExecStart=\n',
  token: undefined,
  cleanup: ['twill', 'cleanup', '--yes'],
  families: ['ipv4'],
}

const fresh: HostState = {
  files: new Map(),
  packagedUnit: undefined,
  service: { isEnabled: false, isActive: false, needsReload: false },
  unforwarded: ['ipv4', 'ipv6'],
  folders: new Set(),
}

const acts = (steps: readonly Pick<Step, 'act'>[]) => steps.map(({ act }) => printAct(act))

/** The host once all of it is done. */
function installedBy(steps: readonly Step[], host: HostState): HostState {
  const written = steps.flatMap(({ act }) => (act.kind === 'write' ? [[act.path, act.text] as const] : []))
  const service = { isEnabled: true, isActive: true, needsReload: false }
  return { ...host, files: new Map([...host.files, ...written]), service, unforwarded: [] }
}

const recordIn = (host: HostState) => readRecord(host.files.get(paths.dropIn))

it('prints the commands of a plan without passwords', () => {
  const words = ['--etcd-password=s3cret', '--etcd-proxy=u:s3cret@p:1', '--join=/etc/twill/join-token']
  expect(printAct({ kind: 'run', command: ['twill', 'cleanup', ...words, '--yes'] })).toBe(
    "twill cleanup '--etcd-password=***' '--etcd-proxy=***@p:1' --join=/etc/twill/join-token --yes",
  )
})

describe('the plan of an installation', () => {
  it('is all of it on a fresh host, and its undo is the same backwards', () => {
    const steps = installPlan(wish, fresh, undefined)
    expect(acts(steps)).toEqual([
      `write ${paths.sysctl}`,
      `/usr/lib/systemd/systemd-sysctl ${paths.sysctl}`,
      `write ${paths.unit}`,
      `write ${paths.dropIn}`,
      'systemctl daemon-reload',
      'systemctl enable --quiet twilld',
      'systemctl start twilld',
    ])
    const host = installedBy(steps, fresh)
    const record = recordIn(host)
    expect(record).toEqual({ flags: wish.flags, docker: false, enabled: true, started: true })
    expect(acts(undoOf(installPlan(wish, host, record)))).toEqual([
      'systemctl stop twilld',
      'twill cleanup --yes',
      'systemctl disable --quiet twilld',
      `remove ${paths.dropIn}`,
      `remove ${paths.unit}`,
      `remove ${paths.sysctl}`,
    ])
    expect(acts(closingActs(record as NonNullable<typeof record>))).toEqual(['systemctl daemon-reload'])
  })

  it('is done where it was done, and a changed flag costs a restart', () => {
    const host = installedBy(installPlan(wish, fresh, undefined), fresh)
    const again = installPlan(wish, host, recordIn(host))
    expect(again.filter(({ isDone }) => !isDone)).toEqual([])
    const changed = installPlan({ ...wish, flags: ['--iface=eth2'] }, host, recordIn(host))
    expect(acts(changed.filter(({ isDone }) => !isDone))).toEqual([
      `write ${paths.dropIn}`,
      'systemctl daemon-reload',
      'systemctl restart twilld',
    ])
    expect(recordIn(installedBy(changed, host))).toMatchObject({ enabled: true, started: true })
  })

  it("takes a package's unit, and leaves it running with the flags from before", () => {
    const service = { isEnabled: true, isActive: true, needsReload: false }
    const host = {
      ...fresh,
      packagedUnit: '[Service]\nExecStart=/usr/bin/twilld\n',
      service,
      unforwarded: [],
    }
    const steps = installPlan(wish, host, undefined)
    expect(acts(steps.filter(({ isDone }) => !isDone))).toEqual([
      `write ${paths.dropIn}`,
      'systemctl daemon-reload',
      'systemctl restart twilld',
    ])
    const installed = installedBy(steps, host)
    expect(installed.files.get(paths.dropIn)).toContain(
      '\nExecStart=/usr/bin/twilld --embedded-etcd=true --iface=eth1\n',
    )
    const record = recordIn(installed)
    expect(acts(undoOf(installPlan(wish, installed, record)))).toEqual([`remove ${paths.dropIn}`])
    expect(acts(closingActs(record as NonNullable<typeof record>))).toEqual([
      'systemctl daemon-reload',
      'systemctl restart --no-block twilld',
    ])
  })

  it('leaves what an operator wrote', () => {
    const files = new Map([[paths.unit, '[Service]\nExecStart=/opt/own/twilld --old\n']])
    const host = { ...fresh, files, unforwarded: [] }
    const steps = installPlan(wish, host, undefined)
    expect(acts(steps)).not.toContain(`write ${paths.unit}`)
    const installed = installedBy(steps, host)
    expect(installed.files.get(paths.dropIn)).toContain('\nExecStart=/opt/own/twilld --embedded-etcd=true')
    expect(acts(undoOf(installPlan(wish, installed, recordIn(installed))))).not.toContain(
      `remove ${paths.unit}`,
    )
  })

  it('has a token in a file for root alone, Docker where that is asked for, and folders that the agent writes to', () => {
    const flags = [`--join=${paths.token}`, '--cni-conf-file=/etc/cni/net.d/10-twill.conflist']
    const steps = installPlan({ ...wish, flags, token: 'twill1_x', docker: true }, fresh, undefined)
    expect(acts(steps)).toEqual(
      expect.arrayContaining([`write ${paths.token}`, `write ${paths.docker}`, 'mkdir -p /etc/cni/net.d']),
    )
    const modes = steps.flatMap(({ act }) => (act.kind === 'write' ? [[act.path, act.mode]] : []))
    expect(new Map(modes as [string, number][]).get(paths.token)).toBe(0o600)
    const host = installedBy(steps, fresh)
    expect(host.files.get(paths.dropIn)).toContain('\nReadWritePaths=/etc/cni/net.d\n')
    expect(host.files.get(paths.dropIn)).not.toContain('twill1_x')
  })

  it('takes away what is not asked for any more', () => {
    const host = installedBy(
      installPlan({ ...wish, token: 'twill1_x', docker: true }, fresh, undefined),
      fresh,
    )
    const changed = installPlan(wish, host, recordIn(host)).filter(({ isDone }) => !isDone)
    expect(acts(changed)).toEqual([
      `remove ${paths.token}`,
      `write ${paths.dropIn}`,
      `remove ${paths.docker}`,
      'systemctl daemon-reload',
      'systemctl restart twilld',
    ])
  })

  it('marks each file that it writes, but the token', () => {
    const steps = installPlan({ ...wish, docker: true }, fresh, undefined)
    for (const { act } of steps)
      if (act.kind === 'write') expect(act.text.startsWith(MARK), act.path).toBe(true)
  })
})
