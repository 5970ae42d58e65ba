// Runs a flow of actions (bench/order_flow.py) through exchange-core, several times in one JVM so that
// its compiler warms up, and prints the best run as one line of JSON.

import exchange.core2.core.ExchangeApi;
import exchange.core2.core.ExchangeCore;
import exchange.core2.core.common.CoreSymbolSpecification;
import exchange.core2.core.common.CoreWaitStrategy;
import exchange.core2.core.common.MatcherEventType;
import exchange.core2.core.common.OrderAction;
import exchange.core2.core.common.OrderType;
import exchange.core2.core.common.SymbolType;
import exchange.core2.core.common.api.ApiAddUser;
import exchange.core2.core.common.api.ApiAdjustUserBalance;
import exchange.core2.core.common.api.ApiCancelOrder;
import exchange.core2.core.common.api.ApiCommand;
import exchange.core2.core.common.api.ApiMoveOrder;
import exchange.core2.core.common.api.ApiPlaceOrder;
import exchange.core2.core.common.api.binary.BatchAddSymbolsCommand;
import exchange.core2.core.common.cmd.CommandResultCode;
import exchange.core2.core.common.cmd.OrderCommand;
import exchange.core2.core.common.config.ExchangeConfiguration;
import exchange.core2.core.common.config.PerformanceConfiguration;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;

public final class ExchangeCoreDriver {
    private static final int SYMBOL = 1, SHARE = 10, CURRENCY = 11, ACCOUNTS = 1000, RUNS = 5;
    private static final long HIGHEST_PRICE = 20_000, FUNDS = 1L << 50;

    private static final AtomicLong done = new AtomicLong();
    private static long trades, refused;

    public static void main(String[] arguments) throws Exception {
        ByteBuffer data = ByteBuffer.wrap(Files.readAllBytes(Path.of(arguments[0])));
        data.order(ByteOrder.LITTLE_ENDIAN);
        int setup = (int) data.getLong(), count = (int) data.getLong();
        List<ApiCommand> filling = commands(data, setup), measured = commands(data, count);
        String best = null;
        double bestSeconds = Double.MAX_VALUE;
        // With fewer cores than its threads, spinning starves it: each strategy gets its chance.
        for (CoreWaitStrategy wait : new CoreWaitStrategy[] {CoreWaitStrategy.YIELDING, CoreWaitStrategy.BLOCKING}) {
            for (int run = 0; run < RUNS; run++) {
                double[] times = run(wait, filling, measured);
                if (times[0] < bestSeconds) {
                    bestSeconds = times[0];
                    best = String.format("{\"metrics\": {\"commands_per_s\": %f, \"cpu_ns_per_command\": %f},"
                        + " \"commands\": %d, \"trades\": %d, \"refused\": %d, \"wait\": \"%s\"}",
                        count / times[0], times[1] / count, count, trades, refused, wait);
                }
            }
        }
        System.out.println(best);
        System.exit(0);
    }

    private static double[] run(CoreWaitStrategy wait, List<ApiCommand> filling, List<ApiCommand> measured) throws Exception {
        PerformanceConfiguration performance = PerformanceConfiguration.throughputPerformanceBuilder()
            .matchingEnginesNum(1).riskEnginesNum(1).waitStrategy(wait).build();
        ExchangeCore core = ExchangeCore.builder()
            .resultsConsumer(ExchangeCoreDriver::onResult)
            .exchangeConfiguration(ExchangeConfiguration.defaultBuilder().performanceCfg(performance).build())
            .build();
        core.startup();
        ExchangeApi api = core.getApi();
        open(api);
        submit(api, filling);
        trades = refused = 0;
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        long cpu = system.getProcessCpuTime(), began = System.nanoTime();
        submit(api, measured);
        double seconds = (System.nanoTime() - began) / 1e9;
        cpu = system.getProcessCpuTime() - cpu;
        core.shutdown();
        return new double[] {seconds, cpu};
    }

    private static void open(ExchangeApi api) throws Exception {
        CoreSymbolSpecification symbol = CoreSymbolSpecification.builder().symbolId(SYMBOL)
            .type(SymbolType.CURRENCY_EXCHANGE_PAIR).baseCurrency(SHARE).quoteCurrency(CURRENCY)
            .baseScaleK(1).quoteScaleK(100).makerFee(1).takerFee(2).build();
        api.submitBinaryDataAsync(new BatchAddSymbolsCommand(symbol)).get();
        List<ApiCommand> opening = new ArrayList<>();
        for (long account = 1; account <= ACCOUNTS; account++) {
            opening.add(ApiAddUser.builder().uid(account).build());
            opening.add(ApiAdjustUserBalance.builder().uid(account).currency(SHARE).amount(FUNDS).transactionId(2 * account).build());
            opening.add(ApiAdjustUserBalance.builder().uid(account).currency(CURRENCY).amount(FUNDS).transactionId(2 * account + 1).build());
        }
        submit(api, opening);
    }

    private static void submit(ExchangeApi api, List<ApiCommand> commands) {
        long target = done.get() + commands.size();
        for (ApiCommand command : commands) {
            api.submitCommand(command);
        }
        while (done.get() < target) {
            Thread.yield();
        }
    }

    private static void onResult(OrderCommand command, long sequence) {
        switch (command.command) {
            case PLACE_ORDER: case MOVE_ORDER: case CANCEL_ORDER: case ADD_USER: case BALANCE_ADJUSTMENT:
                break;
            default:
                return;
        }
        if (command.resultCode != CommandResultCode.SUCCESS) {
            refused++;
        }
        for (var event = command.matcherEvent; event != null; event = event.nextEvent) {
            if (event.eventType == MatcherEventType.TRADE) {
                trades++;
            }
        }
        done.lazySet(done.get() + 1);
    }

    private static List<ApiCommand> commands(ByteBuffer data, int count) {
        List<ApiCommand> commands = new ArrayList<>(count);
        for (int index = 0; index < count; index++) {
            byte operation = data.get(), side = data.get();
            data.getShort();
            long account = data.getInt(), order = data.getLong(), price = data.getLong(), quantity = data.getLong();
            OrderAction action = side == 1 ? OrderAction.BID : OrderAction.ASK;
            switch (operation) {
                case 2:
                    commands.add(ApiCancelOrder.builder().orderId(order).uid(account).symbol(SYMBOL).build());
                    break;
                case 3:
                    commands.add(ApiMoveOrder.builder().orderId(order).uid(account).symbol(SYMBOL).newPrice(price).build());
                    break;
                default:
                    commands.add(ApiPlaceOrder.builder().orderId(order).uid(account).symbol(SYMBOL).action(action)
                        .orderType(operation == 1 ? OrderType.IOC : OrderType.GTC).price(price).size(quantity)
                        .reservePrice(action == OrderAction.BID ? HIGHEST_PRICE : 0).build());
            }
        }
        return commands;
    }
}
