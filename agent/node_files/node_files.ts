import type { Log } from '../../lease/common/log.ts'
import { WholeFileError, writeWhole } from '../../lease/common/replace_file.ts'
import { WakeUp } from '../../lease/common/wake_up.ts'
import { type CniConfig, renderCniConfig } from './cni_config.ts'
import { renderSubnetEnv } from './subnet_env.ts'

export interface NodeFilesOptions {
  readonly subnetFile: string
  /** Undefined: somebody else writes the CNI network, as flannel's DaemonSet does. */
  readonly cniConfigFile: string | undefined
  /** What subnet.env says of masquerading: whether the agent does it. */
  readonly ipMasq: boolean
  readonly log: Log
}

/** How long to wait before a file is tried again that could not be written. */
const RETRY_MS = 5_000

/**
 * What pods are made from: subnet.env, and after it the CNI network, whose appearance makes a runtime start pods. Written
 * when all that they need is there, and again when it changes.
 */
export class NodeFiles {
  readonly #options: NodeFilesOptions
  readonly #due = new WakeUp()
  /** Set after each attempt, whatever came of it. */
  readonly attempted = new WakeUp()
  #trouble: string | undefined = 'subnet.env is not written yet'
  #failing = false

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

  /** Until the signal aborts: writes after each review, and again where that failed. Says each failure once. */
  async keep(current: () => CniConfig, signal: AbortSignal): Promise<never> {
    for (;;) {
      await this.#due.wait(this.#failing ? RETRY_MS : Number.POSITIVE_INFINITY, signal)
      try {
        await this.#write(current(), signal)
        this.#trouble = undefined
        this.#failing = false
      } catch (error) {
        if (!(error instanceof WholeFileError)) throw error
        const trouble = `${error.message}; pods get no network until this directory can be written to`
        if (this.#trouble !== trouble) this.#options.log.error({ againInMs: RETRY_MS }, trouble)
        this.#trouble = trouble
        this.#failing = true
      }
      this.attempted.set()
    }
  }

  async #write(node: CniConfig, signal: AbortSignal): Promise<void> {
    const { subnetFile, cniConfigFile, ipMasq, log } = this.#options
    const { overlayMtu } = node
    if (await writeWhole(subnetFile, renderSubnetEnv({ ...node, ipMasq }), signal))
      log.info({ file: subnetFile, overlayMtu }, 'subnet.env written')
    if (cniConfigFile === undefined) return
    if (await writeWhole(cniConfigFile, renderCniConfig(node), signal))
      log.info({ file: cniConfigFile, overlayMtu }, 'CNI network written')
  }
}
