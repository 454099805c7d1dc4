-- Newest 20 heart rates of one of 1,000 patients since a date (what create.lua has made).
--   wrk -t1 -c8 -d10 --latency -s bench/wrk/search.lua http://127.0.0.1:8080/fhir/Observation
local path = "/fhir/Observation?subject=Patient/p%d&code=http://loinc.org%%7C8867-4" ..
  "&date=ge2026-03-%02d&_sort=-date&_count=20"

function init()
  math.randomseed(os.time())
end

function request()
  return wrk.format("GET", string.format(path, math.random(0, 999), math.random(1, 28)))
end

function done(summary, latency, requests)
  io.write(string.format("p95 %.2fms\n", latency:percentile(95) / 1000))
end
