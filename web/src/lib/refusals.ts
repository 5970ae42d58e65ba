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
  [/halted/i, '거래가 정지된 종목입니다.'],
];

export function refusalText(message: string, language: Language): string {
  if (language === 'en') return message;
  const known = KOREAN.find(([pattern]) => pattern.test(message));
  return known ? `${known[1]} (${message})` : message;
}
