-- GET of the addresses in a file, one a line (/fhir/Observation/...), in random order.
--   wrk -t1 -c8 -d10 --latency -s bench/wrk/read.lua http://127.0.0.1:8080 -- addresses.txt
local paths = {}

function init(args)
  math.randomseed(os.time())
  for line in io.lines(args[1]) do paths[#paths + 1] = line end
end

function request()
  return wrk.format("GET", paths[math.random(#paths)])
end

function done(summary, latency, requests)
  io.write(string.format("p95 %.2fms\n", latency:percentile(95) / 1000))
end
