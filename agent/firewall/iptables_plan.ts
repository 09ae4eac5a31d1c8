import type { IptablesChain } from './rules.ts'

/** The rules in one of our chains and in the kernel's chain that jumps to it, as `iptables -S` prints. */
export interface IptablesState {
  readonly parent: readonly string[]
  /** The rules of our chain; undefined where it does not exist. */
  readonly chain: readonly string[] | undefined
}

/** Lines for `iptables-restore --noflush`. `first`: moves the jump before a rule that makes it useless. */
export function planIptables(
  desired: IptablesChain,
  { parent, chain }: IptablesState,
  first: boolean,
): readonly string[] {
  const jumps = parent.filter(rule => rule === desired.jump).length
  const body =
    desired.rules.length === 0
      ? removal(desired, jumps, chain !== undefined)
      : [
          ...(chain?.join('\n') === desired.rules.join('\n')
            ? []
            : [`:${desired.chain} - [0:0]`, ...desired.rules]),
          ...jumpLines(desired, jumps, first && blockedBy(desired, parent) !== undefined, first),
        ]
  return body.length === 0 ? [] : [`*${desired.table}`, ...body, 'COMMIT']
}

/** The rule that rejects or drops everything before our accepts; undefined where there is none. */
export function blockedBy({ jump }: IptablesChain, parent: readonly string[]): string | undefined {
  const at = parent.indexOf(jump)
  const before = at < 0 ? parent : parent.slice(0, at)
  return before.find(rule =>
    /^-A \S+(?: -m comment --comment (?:"[^"]*"|\S+))? -j (?:REJECT|DROP)\b/.test(rule),
  )
}

function jumpLines({ jump }: IptablesChain, jumps: number, move: boolean, first: boolean): readonly string[] {
  const [remove, insert] = [jump.replace('-A', '-D'), jump.replace('-A', '-I')]
  if (move) return [...Array<string>(jumps).fill(remove), insert]
  if (jumps === 0) return [first ? insert : jump]
  // One jump is enough: `-D` deletes the first match, so the last one stays.
  return Array<string>(jumps - 1).fill(remove)
}

/** A line that names the chain empties it; jumps go before `-X`, which wants it empty and unreferenced. */
function removal({ chain, jump }: IptablesChain, jumps: number, there: boolean): readonly string[] {
  const remove = Array<string>(jumps).fill(jump.replace('-A', '-D'))
  return there ? [`:${chain} - [0:0]`, ...remove, `-X ${chain}`] : remove
}
