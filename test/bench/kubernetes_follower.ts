import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Command } from '../support/exec.ts'

/** A program that follows the Nodes, in a process of its own: kubernetes_child.ts, kubernetes_informer.ts. */
export interface Follower {
  /** The next line that it prints. */
  next(): Promise<Record<string, number>>
  usage(): Promise<Usage>
  stop(): Promise<void>
}

export interface Usage {
  readonly rssMb: number
  readonly peakMb: number
  readonly cpuMs: number
}

/** How the Nodes are followed: as the agent does it, by a watch of whole Nodes, by the client library's informer. */
export type Way = 'store' | 'whole' | 'informer'

/** `placed`: what the command becomes where it is to run elsewhere. */
export function startFollower(
  way: Way,
  kubeconfig: string,
  placed: (command: Command) => Command = command => command,
): Follower {
  const env = { ...process.env, BENCH_WAY: way, BENCH_KUBECONFIG: kubeconfig }
  const [program = '', ...words] = placed([process.execPath, '--no-deprecation', programOf(way)])
  const child = spawn(program, words, {
    env,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const next = async () => JSON.parse((await lines.next()).value) as Record<string, number>
  return {
    next,
    async usage() {
      child.stdin.write('\n')
      const { rssKib = 0, peakKib = 0, cpuMs = 0 } = await next()
      return { rssMb: rssKib / 1024, peakMb: peakKib / 1024, cpuMs }
    },
    async stop() {
      child.stdin.end()
      await new Promise(resolve => child.once('close', resolve))
    },
  }
}

/** Bundled as the agent is, each by itself: see esbuild.config.mjs. */
function programOf(way: Way): string {
  const name = way === 'informer' ? 'bench_kubernetes_informer' : 'bench_kubernetes'
  return join(projectRoot(import.meta.dirname), `dist/${name}.js`)
}

function projectRoot(folder: string): string {
  return existsSync(join(folder, 'package.json')) ? folder : projectRoot(dirname(folder))
}
