import type { ClusterMember } from '../cluster.ts'
import { sleep } from '../common/sleep.ts'
import type { EtcdClient } from './client/client.ts'
import { EtcdError } from './client/error.ts'
import type { EtcdContext } from './records/context.ts'

/** Bounds for etcd's answer, which is foreign input: no cluster has more members, no URL is longer. */
const MOST_MEMBERS = 20
const LONGEST_URL = 256

/** The client URLs of the members that etcd names; without texts that are no URL of the same scheme. */
export async function readMembers(client: EtcdClient, signal: AbortSignal): Promise<ClusterMember[]> {
  const { members } = await client.admin(({ cluster }) => cluster.memberList({}), signal)
  return members.slice(0, MOST_MEMBERS).map(member => ({
    id: member.ID,
    name: member.name.slice(0, LONGEST_URL),
    peerUrls: urls(member.peerURLs),
    clientUrls: urls(member.clientURLs),
    isLearner: member.isLearner,
  }))
}

/** Where agents run etcd, the members replace the endpoints: the first host may be lost after a join. */
export async function followMembers(ctx: EtcdContext, signal: AbortSignal): Promise<never> {
  for (;;) {
    try {
      const members = await readMembers(ctx.client, signal)
      const found = members.flatMap(({ isLearner, clientUrls }) => (isLearner ? [] : clientUrls))
      ctx.client.learn(found)
      ctx.lastSeen.sawEndpoints(found)
    } catch (error) {
      // The other calls report the same, and retry.
      if (!(error instanceof EtcdError)) throw error
    }
    await sleep(ctx.tuning.checkMs * (1 - ctx.tuning.random() / 2), signal)
  }
}

function urls(texts: readonly string[]): readonly string[] {
  return texts.filter(
    text => text.length <= LONGEST_URL && URL.canParse(text) && new URL(text).protocol === 'https:',
  )
}
