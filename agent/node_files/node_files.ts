import { dirname } from 'node:path'
import { backoffMs } from '../../lease/common/backoff.ts'
import type { Log } from '../../lease/common/log.ts'
import { readWhole, WholeFileError } from '../../lease/common/replace_file.ts'
import { ReportOnce } from '../../lease/common/report_once.ts'
import { sleep } from '../../lease/common/sleep.ts'
import { WakeUp } from '../../lease/common/wake_up.ts'
import { type CniConfig, configsBefore, renderCniConfig } from './cni_config.ts'
import { DirectoryWatch } from './directory_watch.ts'
import { renderSubnetEnv } from './subnet_env.ts'
import { writeNodeFile } from './write_file.ts'

export interface NodeFilesOptions {
  readonly subnetFile: string
  /** Undefined: another program writes the CNI network, as flannel's DaemonSet does. */
  readonly cniConfigFile: string | undefined
  readonly ipMasq: boolean
  readonly log: Log
  /** Called after each check: `trouble` may have changed. */
  readonly onChange?: () => void
}

/** Time between two checks of the files after a failed write, or where the kernel does not report changes. */
const LOOK_MS = 5_000
/** The same where the kernel reports changes: it does not report that a parent directory was replaced. */
const WATCHED_LOOK_MS = 10_000
/** The back-off of repairs ends once no program has changed the files for this long. */
const CALM_MS = 60_000

interface NodeFile {
  readonly name: 'subnet.env' | 'CNI network'
  readonly path: string
  readonly text: string
}

/**
 * The files that pods are made from: subnet.env, then the CNI network, which lets a container runtime start
 * pods. Like kernel entries, the files are kept as desired: the agent writes them once all that they describe
 * exists, and again when this changes or another program changes or removes them.
 */
export class NodeFiles {
  readonly #options: NodeFilesOptions
  readonly #due = new WakeUp()
  readonly #watch = new DirectoryWatch(() => this.#due.set())
  readonly #written = new Map<string, string>()
  readonly #warned = new ReportOnce()
  #trouble: string | undefined = 'subnet.env is not written yet'
  #repairs = { count: 0, lastMs: 0 }

  constructor(options: NodeFilesOptions) {
    this.#options = options
  }

  /** Why pods cannot be made yet; undefined once they can. */
  get trouble(): string | undefined {
    return this.#trouble
  }

  /** Call when the desired text of a file may have changed. */
  review(): void {
    this.#due.set()
  }

  /** Checks and repairs the files until the signal aborts. Logs each failure once. */
  async keep(current: () => CniConfig, signal: AbortSignal): Promise<never> {
    try {
      for (;;) {
        await this.#look(current(), signal)
        this.#options.onChange?.()
        const isWatched = this.#trouble === undefined && this.#watch.isComplete
        await this.#due.wait(isWatched ? WATCHED_LOOK_MS : LOOK_MS, signal)
      }
    } finally {
      this.#watch.close()
    }
  }

  /** Checks the earlier files before it writes one: a runtime starts pods as soon as it reads the last. */
  async #look(node: CniConfig, signal: AbortSignal): Promise<void> {
    try {
      const files = this.#filesOf(node)
      for (const [i, file] of files.entries()) {
        if ((await readWhole(file.path, signal)) !== file.text)
          for (const needed of files.slice(0, i + 1)) await this.#write(needed, node, signal)
        this.#written.set(file.path, file.text)
        if (await this.#watch.follow(dirname(file.path))) this.#due.set()
      }
      this.#trouble = undefined
    } catch (error) {
      if (!(error instanceof WholeFileError)) throw error
      if (this.#trouble !== error.message) this.#options.log.error({ againInMs: LOOK_MS }, error.message)
      this.#trouble = error.message
    }
    await this.#warnOfOthers()
  }

  #filesOf(node: CniConfig): readonly NodeFile[] {
    const { subnetFile, cniConfigFile, ipMasq } = this.#options
    const text = renderSubnetEnv({ ...node, ipMasq })
    const env: NodeFile = { name: 'subnet.env', path: subnetFile, text }
    if (cniConfigFile === undefined) return [env]
    return [env, { name: 'CNI network', path: cniConfigFile, text: renderCniConfig(node) }]
  }

  async #write({ name, path, text }: NodeFile, node: CniConfig, signal: AbortSignal): Promise<void> {
    const isRepair = this.#written.get(path) === text
    const found = await readWhole(path, signal)
    if (found === text) return
    if (isRepair) await this.#backOff(signal)
    const how = await writeNodeFile(path, text, signal)
    const facts = { file: path, overlayMtu: node.overlayMtu, ...(how === 'in place' ? { how } : {}) }
    if (!isRepair) this.#options.log.info(facts, `${name} written`)
    else this.#logRepair(facts, name, found)
  }

  /** After the first three repairs: a program that keeps changing a file must not cost much CPU. */
  async #backOff(signal: AbortSignal): Promise<void> {
    const nowMs = performance.now()
    if (nowMs - this.#repairs.lastMs > CALM_MS) this.#repairs.count = 0
    this.#repairs.count += 1
    if (this.#repairs.count > 3) await sleep(backoffMs(this.#repairs.count - 3), signal)
    this.#repairs.lastMs = performance.now()
  }

  #logRepair(facts: object, name: string, found: string | undefined): void {
    const { count } = this.#repairs
    const was = found === undefined ? 'missing' : found === '' ? 'empty' : 'different'
    const often = count > 3 ? `; another program keeps changing it (${count} times)` : ''
    // Later repairs are logged only where their number is a power of two.
    if (count <= 3 || Number.isInteger(Math.log2(count)))
      this.#options.log.warn({ ...facts, was }, `${name} was ${was}: written again${often}`)
  }

  async #warnOfOthers(): Promise<void> {
    const { cniConfigFile, log } = this.#options
    if (cniConfigFile === undefined) return
    const before = await configsBefore(cniConfigFile)
    const then = 'the container runtime uses it, and pods get no address of this network'
    const remedy = 'remove it, or give --cni-conf-file a name that sorts first'
    this.#warned.settle(new Map(before.map(name => [name, name])), name => {
      const text = `CNI config ${name} sorts before ${cniConfigFile}: ${then}; ${remedy}`
      log.warn({ file: `${dirname(cniConfigFile)}/${name}` }, text)
    })
  }
}
