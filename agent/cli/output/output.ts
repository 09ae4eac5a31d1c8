/** Where a command writes: stdout or stderr. */
export interface Output {
  write(text: string | Uint8Array): unknown
  /** Whether the output is a terminal, and its width in characters; both are missing for a pipe or a file. */
  readonly isTTY?: boolean
  readonly columns?: number
}
