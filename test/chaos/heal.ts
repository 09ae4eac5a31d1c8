import type { EtcdServer } from '../support/etcd.ts'
import { until } from '../support/until.ts'
import type { Stage } from './stage.ts'

/**
 * Puts right whatever any fault may have done. Resolves, once every member answers, to the moment at which etcd first did:
 * from then on nothing keeps the agents from being right.
 */
export async function healAll(stage: Stage): Promise<number> {
  const { members, citizens } = stage
  for (const member of members) member.resume()
  stage.house.thaw()
  await stage.mendNetwork()
  for (const { wires } of citizens) for (const wire of wires) wire.set('open')
  const restarting = members.map(member => (member.pid() === undefined ? member.restart() : undefined))
  const all = Promise.all([...restarting, ...members.map(answering)])
  all.catch(() => {})
  await Promise.race([...members.map(answering), all])
  if (stage.isOutOfSpace) await all.then(() => makeSpace(stage))
  for (const citizen of citizens) {
    stage.readdress(citizen, stage.homes.get(citizen) ?? [])
    citizen.start()
  }
  const healedAt = performance.now()
  stage.record({ what: 'healed', at: healedAt })
  await all
  return healedAt
}

async function answering(member: EtcdServer): Promise<void> {
  const ask = () => member.ctl('get', '/', '--dial-timeout=1s', '--command-timeout=1s')
  await until(
    `${member.host} to answer with a quorum`,
    () =>
      ask().then(
        () => true,
        () => false,
      ),
    { withinMs: 30_000, everyMs: 25 },
  )
}

/** What an operator does who was called for it. */
async function makeSpace(stage: Stage): Promise<void> {
  const { gateway, members } = stage
  await gateway.remove('/ballast')
  await gateway.compact(await stage.removeMark())
  for (const member of members) await member.ctl('defrag')
  await members[0]?.ctl('alarm', 'disarm')
  stage.isOutOfSpace = false
  await stage.setMark()
}
