-- GET /id of the codes in a file, one percent-encoded code a line, in random order.
--   wrk -t1 -c8 -d10 --latency -s bench/wrk/identify.lua http://127.0.0.1:8080 -- codes.txt
local codes = {}

function init(args)
  math.randomseed(os.time())
  for line in io.lines(args[1]) do codes[#codes + 1] = line end
end

function request()
  return wrk.format("GET", "/id?code=" .. codes[math.random(#codes)])
end

function done(summary, latency, requests)
  io.write(string.format("p95 %.2fms\n", latency:percentile(95) / 1000))
end
