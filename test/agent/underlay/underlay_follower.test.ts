import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isSameWay, type Reviewed, UnderlayFollower } from '../../../agent/underlay/underlay_follower.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { until } from '../../support/until.ts'

describe('what follows the underlay', () => {
  let follower: UnderlayFollower
  let reviewed: Reviewed[]
  let stop: AbortController
  let running: Promise<unknown>
  let age: number
  /** What happens while the kernel is asked. */
  let during: () => void
  beforeEach(() => {
    reviewed = []
    stop = new AbortController()
    age = 0
    during = () => {}
    const watch = {
      againInMs: Number.POSITIVE_INFINITY,
      review: async () => {
        during()
        return undefined
      },
    }
    follower = new UnderlayFollower(watch, () => ++age)
  })
  afterEach(async () => {
    stop.abort(new Error('the test is over'))
    await running
  })
  const run = () => {
    running = follower.run(one => reviewed.push(one), stop.signal).catch(() => {})
  }
  const reviews = (count: number) => until(`${count} reviews`, () => reviewed.length >= count)

  it('reviews at once, and after each change', async () => {
    run()
    await reviews(1)
    follower.review()
    await reviews(2)
    follower.hear()
    await reviews(3)
    expect(reviewed.map(({ heard }) => heard)).toEqual([undefined, undefined, 1])
  })

  it('says the age of the first of several changes', async () => {
    for (let i = 0; i < 3; i++) follower.hear()
    run()
    await reviews(1)
    expect(reviewed[0]?.heard).toBe(1)
  })

  it('reviews once more where something changes while the kernel is asked', async () => {
    during = () => {
      during = () => {}
      follower.hear()
    }
    run()
    await reviews(2)
    expect(reviewed.map(({ heard }) => heard)).toEqual([undefined, 1])
  })
})

describe('two choices of an underlay', () => {
  const choice = {
    name: 'eth0',
    localIps: [parseIp('192.0.2.1')],
    publicIps: [],
    underlayMtu: 1500,
    onLink: [],
  }

  it('are one way for connections that are made, where interface and addresses are the same', () => {
    expect(isSameWay(choice, { ...choice, underlayMtu: 9000, publicIps: [parseIp('198.51.100.1')] })).toBe(
      true,
    )
    expect(isSameWay(choice, { ...choice, name: 'eth1' })).toBe(false)
    expect(isSameWay(choice, { ...choice, localIps: [parseIp('192.0.2.2')] })).toBe(false)
  })
})
