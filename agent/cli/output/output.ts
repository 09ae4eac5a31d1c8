/** Where a command writes: stdout or stderr. */
export interface Output {
  write(text: string | Uint8Array): unknown
  /** A terminal, and its width; both are missing for a pipe or a file. */
  readonly isTTY?: boolean
  readonly columns?: number
}
