import { dirname } from 'node:path'
import { backoffMs } from '../../lease/common/backoff.ts'
import type { Log } from '../../lease/common/log.ts'
import { readWhole, WholeFileError } from '../../lease/common/replace_file.ts'
import { ReportOnce } from '../../lease/common/report_once.ts'
import { sleep } from '../../lease/common/sleep.ts'
import { WakeUp } from '../../lease/common/wake_up.ts'
import { type CniConfig, renderCniConfig } from './cni_config.ts'
import { DirectoryWatch } from './directory_watch.ts'
import { configsBefore } from './other_cni_configs.ts'
import { renderSubnetEnv } from './subnet_env.ts'
import { writeNodeFile } from './write_file.ts'

export interface NodeFilesOptions {
  readonly subnetFile: string
  /** Undefined: another program writes the CNI network, as flannel's DaemonSet does. */
  readonly cniConfigFile: string | undefined
  /** What subnet.env says of masquerading: whether the agent does it. */
  readonly ipMasq: boolean
  readonly log: Log
  /** Called when the trouble may be another. */
  readonly onChange?: () => void
}

/** How often the files are looked at without a reason; also how long one that could not be written waits. */
const LOOK_MS = 5_000
/** A file that another program keeps changing is repaired with back-off, until it was left alone for so long. */
const CALM_MS = 60_000

interface NodeFile {
  readonly name: 'subnet.env' | 'CNI network'
  readonly path: string
  readonly text: string
}

/**
 * What pods are made from: subnet.env, and after it the CNI network, whose appearance makes a runtime start pods. Kept true like
 * entries of the kernel: written when all that they need is there, and again when that changes, or another program removes
 * or changes them.
 */
export class NodeFiles {
  readonly #options: NodeFilesOptions
  readonly #due = new WakeUp()
  readonly #watch = new DirectoryWatch(() => this.#due.set())
  /** What was written, by path. */
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

  /** Something that the files say has changed. */
  review(): void {
    this.#due.set()
  }

  /** Until the signal aborts. Says each failure once. */
  async keep(current: () => CniConfig, signal: AbortSignal): Promise<never> {
    try {
      for (;;) {
        await this.#look(current(), signal)
        this.#options.onChange?.()
        await this.#due.wait(LOOK_MS, signal)
      }
    } finally {
      this.#watch.close()
    }
  }

  async #look(node: CniConfig, signal: AbortSignal): Promise<void> {
    try {
      for (const file of this.#filesOf(node)) {
        await this.#write(file, node, signal)
        await this.#watch.follow(dirname(file.path))
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
    const env: NodeFile = {
      name: 'subnet.env',
      path: subnetFile,
      text: renderSubnetEnv({ ...node, ipMasq }),
    }
    if (cniConfigFile === undefined) return [env]
    return [env, { name: 'CNI network', path: cniConfigFile, text: renderCniConfig(node) }]
  }

  async #write(
    { name, path, text }: NodeFile,
    { overlayMtu }: CniConfig,
    signal: AbortSignal,
  ): Promise<void> {
    const isRepair = this.#written.get(path) === text
    const found = await readWhole(path, signal)
    if (found === text) {
      this.#written.set(path, text)
      return
    }
    if (isRepair) await this.#backOff(signal)
    const how = await writeNodeFile(path, text, signal)
    this.#written.set(path, text)
    const facts = { file: path, overlayMtu, ...(how === 'in place' ? { how } : {}) }
    if (!isRepair) this.#options.log.info(facts, `${name} written`)
    else this.#sayRepaired(facts, name, found)
  }

  /** The first repairs are done at once; a program that does not give in is not fought with all that the node has. */
  async #backOff(signal: AbortSignal): Promise<void> {
    const nowMs = performance.now()
    if (nowMs - this.#repairs.lastMs > CALM_MS) this.#repairs.count = 0
    this.#repairs.count += 1
    if (this.#repairs.count > 3) await sleep(backoffMs(this.#repairs.count - 3), signal)
    this.#repairs.lastMs = performance.now()
  }

  #sayRepaired(facts: object, name: string, found: string | undefined): void {
    const { count } = this.#repairs
    const was = found === undefined ? 'missing' : found === '' ? 'empty' : 'different'
    const often = count > 3 ? `; another program keeps changing it (${count} times)` : ''
    // Counted in powers of two once it goes on.
    if (count <= 3 || Number.isInteger(Math.log2(count)))
      this.#options.log.warn({ ...facts, was }, `${name} was ${was}: written again${often}`)
  }

  async #warnOfOthers(): Promise<void> {
    const { cniConfigFile, log } = this.#options
    if (cniConfigFile === undefined) return
    const before = await configsBefore(cniConfigFile)
    this.#warned.settle(new Map(before.map(name => [name, name])), name =>
      log.warn(
        { file: `${dirname(cniConfigFile)}/${name}` },
        `CNI config ${name} sorts before ${cniConfigFile}: the container runtime uses it, and pods get no address of this ` +
          'network; remove it, or give --cni-conf-file a name that sorts first',
      ),
    )
  }
}
