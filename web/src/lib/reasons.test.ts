import { describe, expect, it } from 'vitest';
import { ApiRefusal, ApiUnreachable } from './api';
import { reasonOf } from './reasons';

describe('reasonOf', () => {
  it('keeps the words of a refusal, never those of a failure inside the server', () => {
    expect(reasonOf(new ApiRefusal(403, 0, 'insufficient buying power'))).toContain('buying power');
    expect(reasonOf(new ApiRefusal(401, 0, 'unauthorized'))).toContain('session is over');
    const inside = new ApiRefusal(503, 0, 'nobody serves venue.committed');
    expect(reasonOf(inside)).not.toContain('venue.committed');
    expect(reasonOf(new ApiRefusal(500, 0, 'internal error'))).toContain('may or may not');
    expect(reasonOf(new ApiUnreachable('lost'))).toContain('may or may not');
  });
});
