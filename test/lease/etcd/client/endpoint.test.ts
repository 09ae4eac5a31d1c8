import { describe, expect, it } from 'vitest'
import { Endpoints } from '../../../../lease/etcd/client/endpoint.ts'

describe('the endpoints of a client', () => {
  const open = (...given: string[]) => new Endpoints(given, () => 0)

  it('are asked in turn', () => {
    const endpoints = open('https://a:1', 'https://b:1/')
    expect(endpoints.current).toBe('https://a:1')
    endpoints.next()
    expect(endpoints.current).toBe('https://b:1')
    endpoints.next()
    expect(endpoints.current).toBe('https://a:1')
  })

  it('grow by the members of the cluster, and lose those that are none any more, but never the given ones', () => {
    const endpoints = open('https://a:1')
    endpoints.learn(['https://a:1', 'https://b:1/', 'https://c:1'])
    expect(endpoints.all).toEqual(['https://a:1', 'https://b:1', 'https://c:1'])
    endpoints.learn(['https://c:1'])
    expect(endpoints.all).toEqual(['https://a:1', 'https://c:1'])
    endpoints.learn([])
    expect(endpoints.all).toEqual(['https://a:1'])
  })

  it('keep the one that is asked just now', () => {
    const endpoints = open('https://a:1')
    endpoints.learn(['https://b:1', 'https://c:1'])
    endpoints.next()
    endpoints.learn(['https://c:1'])
    expect([endpoints.current, endpoints.all]).toEqual([
      'https://b:1',
      ['https://a:1', 'https://b:1', 'https://c:1'],
    ])
  })
})
