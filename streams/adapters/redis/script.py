"""The script that saves windows, as Redis runs it."""

from __future__ import annotations

import hashlib
from typing import Final

# The header, 48 bytes: the first 28 say whose window it is (layout, table, topic id, partition); then come
# the count of events and the count of rows, 2 bytes each, and the offset. Offsets below 2^53 are exact in
# Lua's numbers. ARGV: those 28 bytes; time to live in ms; for the mark, whose key comes behind the windows',
# the offset that it must have reached and the one it goes on to, or two empty strings; whether nothing is to
# be written unless it has; the first byte of what stands behind the rows; how many keys are of incidents (0,
# or the last 2). Then eight per window: the new offset; what it grew from (`begun_anew`), of that the `next`
# and the least count; four by `_parts`. A window of another life (the header's bytes 9 to 28) is replaced by
# what stands on that very one, or on none, alone.
#
# Then those of incidents: their head as it is to be, 25 bytes (layout, topic id, offset); the offset that
# they must have been kept to; how (`How`); the count of states, and a field and a value each, which is empty
# where the field goes; the same of reasons. The head stands in the states' field without a name.
SAVE: Final = """
local identity, ttl_ms, answers, arg, stale = ARGV[1], ARGV[2], {}, 8, false
local windows = #KEYS - tonumber(ARGV[7])
local tail = tonumber(ARGV[6])
local through = nil
if ARGV[4] ~= '' then
  windows = windows - 1
  local mark = redis.call('GETRANGE', KEYS[windows + 1], 0, 43)
  if #mark == 44 and string.sub(mark, 1, 28) == identity then
    through = struct.unpack('<i8', string.sub(mark, 37, 44))
    if through < tonumber(ARGV[3]) then through = nil end
  end
  if not through and ARGV[5] == '1' then
    for i = 1, windows do answers[i] = 3 end
    return answers
  end
end
for i = 1, windows do
  local key, ours, based_on = KEYS[i], tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
  local head = redis.call('GETRANGE', key, 0, 39)
  local stored, grown, foreign = nil, false, false
  if #head == 40 and string.sub(head, 1, 28) == identity then
    stored = struct.unpack('<i8', string.sub(head, 33, 40))
    local place, count = struct.unpack('<I2I2', string.sub(head, 29, 32))
    grown = stored == based_on and place == tonumber(ARGV[arg + 2]) and count >= tonumber(ARGV[arg + 3])
  elseif #head == 40 and string.sub(head, 1, 8) == string.sub(identity, 1, 8) then
    foreign = based_on ~= -1 and based_on ~= -2 - struct.unpack('<i8', string.sub(head, 33, 40))
  end
  local answer = 0
  if foreign or stored and stored > ours and stored ~= based_on then
    answer = 1
  elseif tonumber(ARGV[arg + 4]) < 0 then
    redis.call('SET', key, ARGV[arg + 5], 'PX', ttl_ms)
  elseif grown or string.sub(ARGV[arg + 5], 1, 40) == head then
    redis.call('SETRANGE', key, 0, ARGV[arg + 5])
    redis.call('SETRANGE', key, tonumber(ARGV[arg + 4]), ARGV[arg + 6])
    redis.call('SETRANGE', key, tail, ARGV[arg + 7])
    redis.call('PEXPIRE', key, ttl_ms)
  else
    answer, stale = 2, true
  end
  answers[i] = answer
  arg = arg + 8
end
if through and not stale and through < tonumber(ARGV[4]) then
  redis.call('SETRANGE', KEYS[windows + 1], 36, struct.pack('<i8', tonumber(ARGV[4])))
end
if ARGV[7] == '2' and not stale then
  local states, reasons, head = KEYS[#KEYS - 1], KEYS[#KEYS], ARGV[arg]
  local follows, how = tonumber(ARGV[arg + 1]), ARGV[arg + 2]
  local kept = redis.call('HGET', states, '')
  local reached, foreign = -1, false
  if kept and #kept == 25 and string.sub(kept, 1, 17) == string.sub(head, 1, 17) then
    reached = struct.unpack('<i8', string.sub(kept, 18, 25))
  elseif kept and #kept == 25 and string.sub(kept, 1, 1) == string.sub(head, 1, 1) then
    foreign = follows >= 0
  end
  local answer = 0
  if how == 'more' then
    if kept then answer = 4 end
  elseif how == 'on' then
    if foreign or reached > struct.unpack('<i8', string.sub(head, 18, 25)) then
      answer = 1
    elseif reached < follows then
      answer = 4
    end
  end
  if answer == 0 then
    if how == 'anew' or (kept and reached < 0) then redis.call('UNLINK', states, reasons) end
    arg = arg + 3
    for _, key in ipairs({states, reasons}) do
      local count = tonumber(ARGV[arg])
      for i = arg + 1, arg + 2 * count, 2 do
        if ARGV[i + 1] == '' then
          redis.call('HDEL', key, ARGV[i])
        else
          redis.call('HSET', key, ARGV[i], ARGV[i + 1])
        end
      end
      arg = arg + 2 * count + 1
      redis.call('PEXPIRE', key, ttl_ms)
    end
    if how == 'on' then
      redis.call('HSET', states, '', head)
      redis.call('PEXPIRE', states, ttl_ms)
    end
  end
  answers[windows + 1] = answer
end
return answers
"""
SAVE_SHA: Final = hashlib.sha1(SAVE.encode(), usedforsecurity=False).hexdigest()
