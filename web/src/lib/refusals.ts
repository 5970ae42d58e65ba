/**
 * The server's refusals in the reader's language. They come in English; the usual ones are
 * translated here, and what is not known is shown as it came, never hidden.
 */
import type { Language } from './language.svelte';

const KOREAN: readonly (readonly [pattern: RegExp, text: string])[] = [
  [/insufficient buying power/i, '매수 가능 금액이 부족합니다.'],
  [/insufficient qty/i, '매도할 수 있는 수량이 부족합니다.'],
  [/not allowed to short/i, '보유하지 않은 주식은 매도할 수 없습니다.'],
  [/wash trade/i, '내 주문끼리 체결될 수 있어 거부되었습니다.'],
  [/sub-penny|tick|increment/i, '호가 단위에 맞지 않는 가격입니다.'],
  [/cost basis must be/i, '최소 주문 금액보다 작습니다.'],
  [/must be unique/i, '이미 사용한 주문 번호입니다.'],
  [/(not cancelable|already (filled|canceled))/i, '이미 끝난 주문이라 취소할 수 없습니다.'],
  [/market (is )?closed/i, '장이 열려 있지 않습니다.'],
  [/name is not available/i, '쓸 수 없는 이름입니다. 다른 이름을 골라 주세요.'],
  [/a name has 3 to 32/i, '이름 규칙에 맞지 않습니다.'],
  [/password has at least/i, '비밀번호가 너무 짧습니다.'],
  [/password has at most/i, '비밀번호가 너무 깁니다.'],
  [/may not contain the name/i, '비밀번호에 이름을 넣을 수 없습니다.'],
  [/among those that are tried first/i, '너무 쉽게 짐작할 수 있는 비밀번호입니다.'],
  [/invitation does not hold/i, '쓸 수 없는 초대 코드입니다. 이미 쓰였거나 기한이 지났습니다.'],
  [/invitation is needed/i, '초대 코드가 있어야 합니다.'],
  [/at most \d+ API keys/i, '키를 더 만들 수 없습니다. 쓰지 않는 키를 먼저 폐기하세요.'],
  [/halted/i, '거래가 정지된 종목입니다.'],
];

export function refusalText(message: string, language: Language): string {
  if (language === 'en') return message;
  const known = KOREAN.find(([pattern]) => pattern.test(message));
  return known ? `${known[1]} (${message})` : message;
}
